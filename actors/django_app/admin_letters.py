"""Dead letters in the admin: found, seen with their history, sent again, deleted.

They are kept in Redis; a page looks at :data:`LOOKED_AT` of one queue at most and says where it ended.
"""

from collections import Counter
from functools import partial
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils.http import urlencode

from actors import services
from actors.chat import prepare_redrive
from actors.django_app.admin_pages import Page, Unavailable, carrier, moment, note, reaching_redis
from actors.django_app.letter_list import LetterForm, LetterList, read_list
from actors.errors import DeliveryUnknown, RecipientMismatch
from actors.turns import after_redrive
from middleware.letters import DeadLetter, DeadLetters

#: One click changes so many at most.
MAX_CHANGED = 200
#: A redrive may have to wait for a worker that tells of its letter; those not begun by then are left, in milliseconds.
PATIENCE_MS = 8_000

_SAID = {
    "redriven": "sent again",
    "missing": "gone meanwhile",
    "duplicate": "already being sent by a newer message; the letter stays",
    "undecodable": "unreadable: it can only be deleted",
    "announcing": "still being announced by a worker; try again in a minute",
    "left": "not begun, because the others took too long; try again",
}
_WARNINGS = {
    DeliveryUnknown.code: "may have been delivered: look at the phone first, sending them again may deliver them twice",
    RecipientMismatch.code: "went to somebody else and hold their conversations: sent again they only let these go on",
}


class LetterAdmin(Page):
    """What was given up."""

    def get_urls(self) -> list[Any]:
        """The two changes beside Django's own pages."""
        name = f"{self.opts.app_label}_{self.opts.model_name}"
        own = [path("<str:doing>/confirm/", self.wrapped(self.change_many), name=f"{name}_confirm")]
        return [*own, *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """Letters of a queue, newest first."""
        self.require(self.has_view_permission(request))
        form = LetterForm.read(request.GET)
        found, problem = LetterList(), None
        try:
            with reaching_redis():
                found = read_list(carrier(), form)
        except Unavailable as error:
            problem = str(error)
        context = {"form": form, "found": found, "problem": problem, **self._rights(request)}
        return self.shown(request, "letters.html", title="Dead letters", **context)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """One letter with the way there."""
        self.require(self.has_view_permission(request))
        letter, problem = None, None
        try:
            with reaching_redis():
                letter = DeadLetters(carrier()).find(object_id)
        except Unavailable as error:
            problem = str(error)
        if letter is None and problem is None:
            raise Http404(f"there is no dead letter {object_id!r} (any more)")
        history = [{**one, "at": moment(one.get("at_ms"))} for one in letter.failures] if letter else []
        facts = _facts(letter) if letter else {}
        context = {"letter": letter, "facts": facts, "history": history, "problem": problem, **self._rights(request)}
        return self.shown(request, "letter.html", title="Dead letter", **context)

    def change_many(self, request: HttpRequest, doing: str) -> HttpResponse:
        """Ask, then send again or delete the letters that the form names."""
        if doing not in ("redrive", "discard"):
            raise Http404
        self.require(self.has_view_permission(request) and self.may(request, doing))
        form = LetterForm.read(request.POST)
        back = f"{reverse(f'admin:{self.opts.app_label}_{self.opts.model_name}_changelist')}?{urlencode(form.query())}"
        ids = request.POST.getlist("id")[:MAX_CHANGED]
        try:
            with reaching_redis():
                letters = DeadLetters(carrier()).named(form.queue, ids) if request.method == "POST" else []
                if letters and "confirmed" not in request.POST:
                    return self._asked(request, doing, letters, form, back)
                said = self._done(request, doing, letters)
        except Unavailable as error:
            self.message_user(request, str(error), messages.ERROR)
        else:
            for text, level in said or [
                ("Choose letters first; those that were chosen may be gone.", messages.WARNING)
            ]:
                self.message_user(request, text, level)
        return HttpResponseRedirect(back)

    def _rights(self, request: HttpRequest) -> dict[str, bool]:
        return {f"may_{doing}": self.may(request, doing) for doing in ("redrive", "discard")}

    def _asked(
        self, request: HttpRequest, doing: str, letters: list[DeadLetter], form: LetterForm, back: str
    ) -> HttpResponse:
        counts = Counter((letter.reason, letter.actor or "-", letter.group or "-") for letter in letters)
        warned = [
            f"{sum(letter.reason == reason for letter in letters)} {text}"
            for reason, text in _WARNINGS.items()
            if doing == "redrive" and any(letter.reason == reason for letter in letters)
        ]
        verb = "Send again" if doing == "redrive" else "Delete"
        rows = [(*group, count) for group, count in counts.most_common()]
        context = {"letters": letters, "rows": rows, "warned": warned, "form": form, "back": back, "verb": verb}
        title = f"{verb} {len(letters)} dead letter{'s' if len(letters) > 1 else ''}?"
        return self.shown(request, "letters_confirm.html", title=title, **context)

    def _done(self, request: HttpRequest, doing: str, letters: list[DeadLetter]) -> list[tuple[str, int]]:
        # Each goes to the end of its conversation: the one that died first must be the first to go.
        ordered = sorted(letters, key=lambda letter: (letter.died_at_ms, letter.sequence))
        if ordered:
            note(request, f"dlq.{doing}", letters=len(ordered), ids=[letter.id for letter in ordered])
        if doing == "discard":
            for letter in ordered:
                self._log(request, letter, f"Deleted: {letter.reason}.")
            count = DeadLetters(carrier()).discard(ordered) if ordered else 0
            return [(f"{count} deleted.", messages.SUCCESS)] if ordered else []
        counts = Counter(self._redriven(request, ordered))
        return [
            (f"{count} {_SAID[state]}.", messages.SUCCESS if state == "redriven" else messages.WARNING)
            for state, count in counts.most_common()
        ]

    def _redriven(self, request: HttpRequest, letters: list[DeadLetter]) -> list[str]:
        clock, dead = services.get().clock, DeadLetters(carrier())
        end_ms, states = clock.boot_ms() + PATIENCE_MS, []
        for letter in letters:
            if clock.boot_ms() >= end_ms:
                states.append("left")
                continue
            states.append(dead.redrive(letter, prepare=partial(prepare_redrive, letter)))
            after_redrive(letter)
            if states[-1] == "redriven":
                self._log(request, letter, f"Sent again: {letter.reason}.")
        return states

    def _log(self, request: HttpRequest, letter: DeadLetter, text: str) -> None:
        self.log_change(request, self.model(pk=letter.id), text)


def _facts(letter: DeadLetter) -> dict[str, Any]:
    return {
        "Reason": letter.reason,
        "Error": letter.error,
        "Error class": letter.error_class,
        "Actor": letter.actor or "unreadable",
        "Queue": letter.queue,
        "Instance": letter.group,
        "Conversation": letter.lane,
        "Attempts": letter.attempts,
        "Deliveries": letter.deliveries,
        "First failed at": moment(letter.first_failed_at_ms),
        "Died at": moment(letter.died_at_ms),
        "Worker": letter.worker,
        "Job": letter.job_id,
        **{f"Argument {name}": value for name, value in letter.kwargs.items()},
    }
