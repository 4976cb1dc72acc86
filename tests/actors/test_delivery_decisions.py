"""What to do next with a part, decided from its row alone; and what parts a message has."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.domain import (
    AttemptState,
    ChatMessage,
    CloudGroup,
    ConversationType,
    Location,
    Media,
    MediaKind,
    OutgoingPart,
    Phone,
    Quote,
    SendAttempt,
    Template,
)
from actors.parts import fingerprint, outgoing_parts
from actors.settings import OnUnknown
from actors.steps import LOOKS, Step, UnknownPolicy, next_step, rivals, wait_until_ms

GRACE_MS = 1_000
ASK = UnknownPolicy(OnUnknown.RECONCILE_THEN_RESEND, True, GRACE_MS, 2)
CANNOT_ASK = UnknownPolicy(OnUnknown.RECONCILE_THEN_RESEND, False, GRACE_MS, 2)
PARK = UnknownPolicy(OnUnknown.PARK_FOR_HUMAN, True, GRACE_MS, 2)
RESEND = UnknownPolicy(OnUnknown.RESEND, True, GRACE_MS, 2)
TOLD = UnknownPolicy(OnUnknown.RECONCILE_THEN_RESEND, False, GRACE_MS, 2, told_within_ms=90_000)
MANY = UnknownPolicy(OnUnknown.RECONCILE_THEN_RESEND, True, GRACE_MS, 7)


def attempt(state: AttemptState, *, looks: int = 0, resends: int = 0, **values: Any) -> SendAttempt:
    return SendAttempt(
        message_id="m",
        part=0,
        state=state,
        number=1 + resends,
        instance_name="i",
        started_at_ms=0,
        deadline_at_ms=10**9,
        looks=looks,
        resends=resends,
        **values,
    )


@pytest.mark.parametrize(
    ("row", "now_ms", "policy", "step"),
    [
        (None, 0, ASK, Step.CLAIM),
        (attempt(AttemptState.RETRYABLE), 0, ASK, Step.CLAIM),
        (attempt(AttemptState.ACCEPTED), 0, ASK, Step.SETTLED),
        (attempt(AttemptState.DEAD), 0, ASK, Step.REFUSE),
        (attempt(AttemptState.UNKNOWN), 999, ASK, Step.WAIT),
        (attempt(AttemptState.UNKNOWN), 1_000, ASK, Step.LOOK),
        (attempt(AttemptState.UNKNOWN, looks=1), 1_999, ASK, Step.WAIT),
        (attempt(AttemptState.UNKNOWN, looks=1), 2_000, ASK, Step.LOOK),
        (attempt(AttemptState.UNKNOWN, looks=2), 3_000, ASK, Step.RESEND),
        (attempt(AttemptState.UNKNOWN, looks=2, resends=2), 3_000, ASK, Step.PARK),
        (attempt(AttemptState.UNKNOWN), 1_000, CANNOT_ASK, Step.PARK),
        (attempt(AttemptState.UNKNOWN, looks=2), 3_000, PARK, Step.PARK),
        (attempt(AttemptState.UNKNOWN), 1_000, PARK, Step.LOOK),
        (attempt(AttemptState.UNKNOWN), 1_000, RESEND, Step.RESEND),
        (attempt(AttemptState.UNKNOWN, resends=2), 1_000, RESEND, Step.PARK),
        # Webhooks tell: wait for them, whatever the host wants afterwards.
        (attempt(AttemptState.UNKNOWN), 89_999, TOLD, Step.WAIT),
        (attempt(AttemptState.UNKNOWN), 90_000, TOLD, Step.PARK),
        (attempt(AttemptState.UNKNOWN), 89_999, replace(TOLD, on_unknown=OnUnknown.RESEND), Step.WAIT),
        (attempt(AttemptState.UNKNOWN), 90_000, replace(TOLD, on_unknown=OnUnknown.RESEND), Step.RESEND),
        (attempt(AttemptState.UNKNOWN), 1_000, replace(TOLD, can_ask=True), Step.LOOK),
        # What no list can prove is sent again twice, however many attempts there are.
        (attempt(AttemptState.UNKNOWN, looks=2, resends=1, reason="timed_out"), 3_000, MANY, Step.RESEND),
        (attempt(AttemptState.UNKNOWN, looks=2, resends=2, reason="timed_out"), 3_000, MANY, Step.PARK),
        (attempt(AttemptState.UNKNOWN, looks=2, resends=2, reason="provider_unclear"), 3_000, MANY, Step.PARK),
        (attempt(AttemptState.UNKNOWN, looks=2, resends=2, reason="timeout"), 3_000, MANY, Step.RESEND),
    ],
)
def test_the_next_step_follows_from_the_row(row, now_ms, policy, step):
    assert next_step(row, now_ms=now_ms, policy=policy) is step


@given(
    state=st.sampled_from([AttemptState.UNKNOWN, AttemptState.SENDING]),
    looks=st.integers(0, 5),
    resends=st.integers(0, 20),
    now_ms=st.integers(0, 10**6),
    on_unknown=st.sampled_from(OnUnknown),
    can_ask=st.booleans(),
    told_within_ms=st.none() | st.integers(0, 10**6),
)
def test_nothing_unknown_is_ever_sent_again_before_it_was_looked_for_in_vain(
    state, looks, resends, now_ms, on_unknown, can_ask, told_within_ms
):
    row = attempt(state, looks=looks, resends=resends)
    policy = UnknownPolicy(on_unknown, can_ask, GRACE_MS, 2, told_within_ms)
    step = next_step(row, now_ms=now_ms, policy=policy)

    assert step is not Step.CLAIM
    if step is Step.RESEND:
        assert now_ms >= wait_until_ms(row, policy)
        assert resends < policy.max_resends
        assert on_unknown is OnUnknown.RESEND or (can_ask and looks >= LOOKS)


def test_put_backs_are_no_resends():
    """A part that was throttled twenty times has not used up what is granted to one whose fate is unknown."""
    row = attempt(AttemptState.RETRYABLE)
    for _ in range(20):
        row = replace(row.again(instance_name="i", now_ms=0, deadline_at_ms=9), state=AttemptState.RETRYABLE)
    unknown = replace(row, state=AttemptState.UNKNOWN, looks=LOOKS)

    assert (row.number, row.resends) == (21, 0)
    assert next_step(unknown, now_ms=3_000, policy=ASK) is Step.RESEND
    assert unknown.again(instance_name="i", now_ms=0, deadline_at_ms=9).resends == 1


def test_only_earlier_parts_with_the_same_words_to_the_same_address_are_rivals():
    def row(message_id: str, at_ms: int, fingerprint: str = "same") -> SendAttempt:
        made = attempt(AttemptState.UNKNOWN, fingerprint=fingerprint)
        return replace(made, message_id=message_id, started_at_ms=at_ms)

    own = row("m", 10)
    others = [row("later", 11), row("b", 9), row("a", 9), row("n", 10), row("l", 10), row("other", 5, "another"), own]

    assert [rival.message_id for rival in rivals(own, others)] == ["a", "b", "l"]
    assert rivals(replace(own, fingerprint=""), [row("a", 9, "")]) == []


@pytest.mark.parametrize(
    ("other", "is_same"),
    [
        ({}, True),
        ({"text": "Oi"}, False),
        ({"recipient": Phone("+551188887777")}, True),
        ({"recipient": Phone("+5511988887778")}, False),
        ({"recipient": CloudGroup("Y2FwaV9ncm91cDoxMjM0NTY3ODkw")}, False),
        ({"text": "", "media": Media(kind=MediaKind.IMAGE, url="u", mimetype="image/png", file_name="a.png")}, False),
        ({"extra": Location(latitude=1.0, longitude=2.0)}, False),
    ],
)
def test_a_fingerprint_is_that_of_words_and_address(other, is_same):
    own = OutgoingPart(message_id="m", part=0, recipient=Phone("+5511988887777"), text="oi")
    another = replace(own, message_id="n", part=3, **other)

    assert (fingerprint(own) == fingerprint(another)) is is_same
    assert "oi" not in fingerprint(own)
    assert len(fingerprint(own)) == 64


def media(kind: MediaKind, number: int = 0) -> Media:
    return Media(kind=kind, url=f"https://cdn.example.com/{number}", mimetype="x/y", file_name=f"{number}.bin")


def parts_of(**fields: object) -> list[OutgoingPart]:
    chat_message = ChatMessage(
        id="m",
        conversation_id="c",
        tenant_id=None,
        instance_name="i",
        conversation_type=ConversationType.INDIVIDUAL,
        recipient_address="+5511988887777",
        created_at_ms=7,
        **fields,  # type: ignore[arg-type]
    )
    return outgoing_parts(chat_message, chat_message.recipient())


def test_a_text_is_one_part():
    [part] = parts_of(text="oi")

    assert (part.text, part.media, part.reference) == ("oi", None, "m:0")


def test_the_text_is_the_caption_of_the_first_attachment():
    parts = parts_of(text="caption", media=(media(MediaKind.IMAGE, 0), media(MediaKind.DOCUMENT, 1)))

    assert [(part.part, part.text) for part in parts] == [(0, "caption"), (1, "")]


@pytest.mark.parametrize("kind", [MediaKind.VOICE, MediaKind.AUDIO])
def test_sound_is_followed_by_its_text(kind):
    parts = parts_of(text="words", media=(media(kind),))

    assert [(part.text, part.media is not None) for part in parts] == [("", True), ("words", False)]


def test_a_reply_quotes_once_and_mentions_stand_with_the_text():
    quote = Quote(provider_message_id="q", from_me=False)
    parts = parts_of(text="@1", media=(media(MediaKind.VOICE),), quote=quote, mentions=("1",), mention_everyone=True)

    assert [part.quote for part in parts] == [quote, None]
    assert [(part.mentions, part.mention_everyone) for part in parts] == [((), False), (("1",), True)]


@given(kinds=st.lists(st.sampled_from(MediaKind), max_size=5), text=st.sampled_from(["", "words"]))
def test_nothing_of_a_message_is_left_out_and_parts_stay_in_order(kinds, text):
    files = tuple(media(kind, number) for number, kind in enumerate(kinds))
    parts = parts_of(text=text, media=files)

    assert [part.media for part in parts if part.media] == list(files)
    assert [part.text for part in parts if part.text] == ([text] if text else [])
    assert [part.part for part in parts] == list(range(len(parts)))
    assert sorted(part.sequence for part in parts) == [part.sequence for part in parts]


PLACE = Location(latitude=1.0, longitude=2.0)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"extra": PLACE, "text": ""}, [(PLACE, None, "")]),
        ({"extra": PLACE, "text": "here"}, [(PLACE, None, ""), (None, None, "here")]),
        (
            {"extra": Template(name="n", language="en"), "text": "as the row shows it"},
            [(Template(name="n", language="en"), None, "")],
        ),
    ],
)
def test_an_extra_is_a_part_of_its_own(content, expected):
    parts = parts_of(**content)

    assert [(part.extra, part.media, part.text) for part in parts] == expected
    assert [part.part for part in parts] == list(range(len(expected)))
