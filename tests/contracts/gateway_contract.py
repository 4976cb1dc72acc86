"""What every gateway keeps, whatever it speaks: subclass :class:`GatewayContract` and say how to reach and break it.

``test_gateway_contract`` runs it over the gateways of this distribution; a backend from elsewhere can do the same.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import pytest

from actors import errors
from actors.domain import (
    CloudGroup,
    ContactCard,
    GroupJid,
    Instance,
    Location,
    Media,
    MediaKind,
    OutgoingPart,
    Phone,
    Quote,
    Recipient,
    Template,
)
from actors.gateways.base import Ability, Gateway
from middleware.clock import SystemClock

PERSON = Phone("+5511988887777")
GROUP = GroupJid("120363025246125486@g.us")
CLOUD_GROUP = CloudGroup("Y2FwaV9ncm91cDoxNzA1NTU1MDEzOToxMjAzNjM0MDQ2OTQyMzM4MjAZD")
#: What must appear in no error.
SECRET_TEXT = "segredo do cliente"
PLACE = Location(latitude=-23.561414, longitude=-46.655881, name="MASP", address="Av. Paulista, 1578")
CARD = ContactCard(full_name="Ana Souza", phone="+5511977776666", organization="Oficina")
TEMPLATE = Template(name="welcome", language="pt_BR")
EXTRAS = [
    (Ability.SEND_LOCATION, PLACE, "location"),
    (Ability.SEND_CONTACT, CARD, "contact"),
    (Ability.SEND_TEMPLATE, TEMPLATE, "template"),
]


@dataclass(frozen=True)
class Accepted:
    """One message that the far side took."""

    reference: str
    text: str
    is_group: bool
    kind: str
    is_reply: bool
    mentions_everyone: bool


class FarSide(Protocol):
    """The provider, as far as a test must see and break it. ``break_`` lasts until ``heal``."""

    def accepted(self) -> list[Accepted]: ...

    def requests(self) -> int: ...

    def break_(self, how: str) -> None:
        """``lost_before``, ``lost_after``, ``silent_after``, ``cut_after``, ``refuses``, ``closed``, ``bad_key``,
        ``too_many`` (asks for 7 s), ``down`` (502 page)."""
        ...

    def heal(self) -> None: ...


@dataclass
class Rig:
    """A gateway, an instance that works, and the far side.

    ``has_session``: an instance may be known and its session down. ``max_text_chars``: of the longest text that the provider takes.
    """

    gateway: Gateway
    instance: Instance
    far: FarSide
    group: Recipient = GROUP
    has_session: bool = True
    max_text_chars: int = 20_000
    number = 0

    def part(self, text: str = "oi", recipient: Recipient = PERSON, **fields: Any) -> OutgoingPart:
        self.number += 1
        return OutgoingPart(
            message_id=f"m{self.number}", part=0, sequence=self.number, recipient=recipient, text=text, **fields
        )

    def send(self, part: OutgoingPart, timeout_s: float = 5.0) -> Any:
        return self.gateway.send(part, instance=self.instance, timeout_s=timeout_s)

    def need_session(self) -> None:
        if not self.has_session:
            pytest.skip(f"{self.gateway.name} knows no sessions")

    def found(self, part: OutgoingPart, *, since_ms: int, bound_ids: tuple[str, ...] = ()) -> Any:
        return self.gateway.find_sent(
            part, instance=self.instance, since_ms=since_ms, until_ms=SystemClock().now_ms(), bound_ids=bound_ids
        )


def media(kind: MediaKind, mimetype: str, file_name: str) -> Media:
    return Media(kind=kind, url=f"https://files.example/{file_name}", mimetype=mimetype, file_name=file_name)


class GatewayContract:
    """Subclass it with a fixture ``rig``."""

    @pytest.fixture
    def can(self, rig: Rig) -> Callable[[Ability], None]:
        """Skip what the backend declares absent."""

        def need(ability: Ability) -> None:
            if ability not in rig.gateway.supports:
                pytest.skip(f"{rig.gateway.name} declares no {ability}")

        return need

    def test_a_text_arrives_once_and_comes_back_with_an_id(self, rig):
        part = rig.part("oi")

        receipt = rig.send(part)

        assert receipt.provider_message_id
        assert not receipt.mismatch
        assert [(one.reference, one.text) for one in rig.far.accepted()] == [(part.reference, "oi")]

    def test_every_text_gets_an_id_of_its_own(self, rig):
        ids = [rig.send(rig.part(f"texto {n}")).provider_message_id for n in range(5)]

        assert len(set(ids)) == 5

    @pytest.mark.parametrize("text", ["é 👩‍👩‍👧 \u202e\u0000", '{"a": "\\"}', "\ud800", "  a  "])
    def test_a_text_arrives_to_the_letter(self, rig, text):
        rig.send(rig.part(text))

        assert [one.text for one in rig.far.accepted()] == [text]

    def test_the_longest_text_arrives_whole(self, rig):
        rig.send(rig.part("x" * rig.max_text_chars))

        assert [len(one.text) for one in rig.far.accepted()] == [rig.max_text_chars]

    def test_a_group_is_reached_as_a_group(self, rig):
        rig.send(rig.part("oi", rig.group))

        assert [one.is_group for one in rig.far.accepted()] == [True]

    def test_a_reply_is_a_reply(self, rig, can):
        can(Ability.REPLY)
        first = rig.send(rig.part("primeira"))

        rig.send(rig.part("oi", quote=Quote(provider_message_id=first.provider_message_id, from_me=True)))

        assert [one.is_reply for one in rig.far.accepted()] == [False, True]

    def test_everyone_is_mentioned_in_groups_only(self, rig, can):
        can(Ability.MENTIONS)
        rig.send(rig.part("@todos", rig.group, mention_everyone=True))
        rig.send(rig.part("@todos", PERSON, mention_everyone=True))

        assert [one.mentions_everyone for one in rig.far.accepted()] == [True, False]

    @pytest.mark.parametrize(
        ("kind", "mimetype", "file_name"),
        [
            (MediaKind.IMAGE, "image/jpeg", "a.jpg"),
            (MediaKind.VIDEO, "video/mp4", "a.mp4"),
            (MediaKind.DOCUMENT, "application/pdf", "a.pdf"),
        ],
    )
    def test_a_file_arrives_as_what_it_is_with_its_caption(self, rig, can, kind, mimetype, file_name):
        can(Ability.SEND_MEDIA)

        rig.send(rig.part("veja", media=media(kind, mimetype, file_name)))

        assert [(one.kind, one.text) for one in rig.far.accepted()] == [(str(kind), "veja")]

    @pytest.mark.parametrize("kind", [MediaKind.AUDIO, MediaKind.VOICE])
    def test_a_sound_arrives_as_what_it_is(self, rig, can, kind):
        can(Ability.SEND_VOICE)

        rig.send(rig.part("", media=media(kind, "audio/ogg", "a.ogg")))

        assert [one.kind for one in rig.far.accepted()] == [str(kind)]

    @pytest.mark.parametrize(("ability", "extra", "kind"), EXTRAS, ids=["place", "card", "template"])
    def test_a_place_a_card_or_a_template_arrives_as_what_it_is_or_is_unsupported(self, rig, ability, extra, kind):
        part = rig.part("", extra=extra)
        if ability not in rig.gateway.supports:
            with pytest.raises(errors.Unsupported):
                rig.send(part)
            assert rig.far.requests() == 0
            return

        receipt = rig.send(part)

        assert receipt.provider_message_id
        assert [(one.reference, one.kind) for one in rig.far.accepted()] == [(part.reference, kind)]

    @pytest.mark.parametrize(("ability", "extra", "kind"), EXTRAS[:2], ids=["place", "card"])
    def test_a_place_or_a_card_that_went_out_unanswered_is_found(self, rig, can, ability, extra, kind):
        can(Ability.RECONCILE)
        can(ability)
        since_ms = SystemClock().now_ms()
        part = rig.part("", extra=extra)
        rig.send(rig.part("MASP"))
        rig.far.break_("lost_after")
        with pytest.raises(errors.Ambiguous):
            rig.send(part)
        rig.far.heal()

        found = rig.found(part, since_ms=since_ms)

        assert found.provider_message_id
        assert rig.found(part, since_ms=since_ms, bound_ids=(found.provider_message_id,)) is None

    def test_nothing_is_requested_for_an_empty_part(self, rig):
        before = rig.far.requests()

        with pytest.raises(errors.BadPayload):
            rig.send(rig.part("  "))

        assert rig.far.requests() == before

    def test_a_send_that_is_not_reached_is_not_sent_and_says_so(self, rig):
        rig.far.break_("refuses")

        with pytest.raises(errors.GatewayUnreachable) as caught:
            rig.send(rig.part())

        assert not caught.value.request_written
        rig.far.heal()
        assert rig.far.accepted() == []

    @pytest.mark.parametrize(
        ("how", "delivered"),
        [("lost_before", 0), ("lost_after", 1), ("silent_after", 1), ("cut_after", 1), ("down", 0)],
    )
    def test_a_send_whose_end_is_unknown_is_ambiguous_and_not_repeated(self, rig, how, delivered):
        rig.far.break_(how)

        with pytest.raises(errors.Ambiguous) as caught:
            rig.send(rig.part(), timeout_s=1.0)

        assert caught.value.request_written
        assert not caught.value.permanent
        assert len(rig.far.accepted()) == delivered
        assert rig.far.requests() == 1

    @pytest.mark.parametrize("how", ["lost_after", "silent_after", "cut_after"])
    def test_what_went_out_unanswered_is_found(self, rig, can, how):
        can(Ability.RECONCILE)
        since_ms = SystemClock().now_ms()
        part = rig.part("único")
        rig.far.break_(how)
        with pytest.raises(errors.Ambiguous):
            rig.send(part, timeout_s=1.0)
        rig.far.heal()

        receipt = rig.found(part, since_ms=since_ms)

        assert receipt.provider_message_id
        assert len(rig.far.accepted()) == 1

    def test_what_never_went_out_is_not_found(self, rig, can):
        can(Ability.RECONCILE)
        since_ms = SystemClock().now_ms()
        part = rig.part("único")
        rig.send(rig.part("outro"))
        rig.far.break_("lost_before")
        with pytest.raises(errors.Ambiguous):
            rig.send(part)
        rig.far.heal()

        assert rig.found(part, since_ms=since_ms) is None

    def test_two_equal_texts_are_told_apart_by_what_is_bound(self, rig, can):
        can(Ability.RECONCILE)
        since_ms = SystemClock().now_ms()
        first, second = rig.part("igual"), rig.part("igual")
        first_id = rig.send(first).provider_message_id
        rig.far.break_("lost_after")
        with pytest.raises(errors.Ambiguous):
            rig.send(second)
        rig.far.heal()

        found = rig.found(second, since_ms=since_ms, bound_ids=(first_id,))

        assert found.provider_message_id not in (None, first_id)
        assert rig.found(second, since_ms=since_ms, bound_ids=(first_id, found.provider_message_id)) is None

    def test_a_search_that_fails_is_an_error_and_not_an_empty_answer(self, rig, can):
        can(Ability.RECONCILE)
        rig.far.break_("down")

        with pytest.raises(errors.Transient):
            rig.found(rig.part(), since_ms=SystemClock().now_ms())

    def test_a_mention_that_cannot_be_made_is_unsupported_and_asks_nobody(self, rig):
        if Ability.MENTIONS in rig.gateway.supports:
            pytest.skip(f"{rig.gateway.name} mentions people")

        with pytest.raises(errors.Unsupported):
            rig.send(rig.part("@todos", rig.group, mention_everyone=True))

        assert rig.far.requests() == 0

    def test_a_picture_that_cannot_be_asked_for_is_unsupported_and_asks_nobody(self, rig):
        if Ability.FETCH_PROFILE_PIC in rig.gateway.supports:
            pytest.skip(f"{rig.gateway.name} has pictures")

        with pytest.raises(errors.Unsupported):
            rig.gateway.fetch_profile_picture(PERSON, instance=rig.instance)

        assert rig.far.requests() == 0

    def test_a_group_of_another_provider_is_unsupported_and_asks_nobody(self, rig):
        foreign = CLOUD_GROUP if isinstance(rig.group, GroupJid) else GROUP

        with pytest.raises(errors.Unsupported):
            rig.gateway.fetch_group_info(foreign, instance=rig.instance)
        with pytest.raises((errors.Unsupported, errors.BadRecipient)):
            rig.send(rig.part("oi", foreign))

        assert rig.far.requests() == 0

    def test_what_was_sent_cannot_be_asked_of_a_provider_that_does_not_say(self, rig):
        if Ability.RECONCILE in rig.gateway.supports:
            pytest.skip(f"{rig.gateway.name} says it")

        with pytest.raises(errors.Unsupported):
            rig.found(rig.part(), since_ms=SystemClock().now_ms())

        assert rig.far.requests() == 0

    def test_a_closed_session_costs_no_attempt(self, rig):
        rig.need_session()
        rig.far.break_("closed")

        with pytest.raises(errors.InstanceUnavailable) as caught:
            rig.send(rig.part())

        assert caught.value.delay_ms
        assert rig.far.accepted() == []

    def test_too_many_requests_slow_down_as_told(self, rig):
        rig.far.break_("too_many")

        with pytest.raises(errors.Throttled) as caught:
            rig.send(rig.part())

        assert caught.value.delay_ms == 7_000
        assert rig.far.accepted() == []

    def test_a_refused_key_calls_an_operator_and_is_not_repeated(self, rig):
        rig.far.break_("bad_key")

        with pytest.raises(errors.AuthConfig) as caught:
            rig.send(rig.part())

        assert caught.value.alert
        assert caught.value.permanent
        assert rig.far.requests() == 1

    @pytest.mark.parametrize("how", ["refuses", "lost_before", "cut_after", "closed", "too_many", "bad_key", "down"])
    def test_no_error_names_a_number_a_text_or_a_key(self, rig, how):
        if how == "closed":
            rig.need_session()
        part = rig.part(SECRET_TEXT)
        rig.far.break_(how)

        with pytest.raises(errors.ChatError) as caught:
            rig.send(part, timeout_s=1.0)

        error: BaseException | None = caught.value
        while error is not None:
            shown = f"{error} {error!r}"
            assert part.reference in shown or error is not caught.value
            assert not [
                secret
                for secret in (SECRET_TEXT, PERSON.number[1:], rig.instance.api_key or "no key")
                if secret in shown
            ]
            error = error.__cause__ or error.__context__
        rig.far.heal()

    def test_an_instance_that_works_is_told_by_name(self, rig):
        assert rig.instance.name in rig.gateway.check(rig.instance)

    def test_a_refused_key_is_told(self, rig):
        rig.far.break_("bad_key")

        with pytest.raises(errors.AuthConfig):
            rig.gateway.check(rig.instance)

    def test_a_closed_session_is_told(self, rig):
        rig.need_session()
        rig.far.break_("closed")

        with pytest.raises(errors.InstanceUnavailable):
            rig.gateway.check(rig.instance)

    def test_it_may_be_closed_twice_and_used_again(self, rig):
        rig.send(rig.part())
        rig.gateway.close()
        rig.gateway.close()

        assert rig.send(rig.part()).provider_message_id
