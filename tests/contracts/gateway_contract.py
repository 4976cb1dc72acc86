"""What every gateway keeps, whatever it speaks: subclass :class:`GatewayContract` and say how to reach and break it.

``test_gateway_contract`` runs it over the gateways of this distribution; a backend from elsewhere can do the same. What its
fixture ``rig`` gives is in ``gateway_world``.
"""

import pytest
from contracts.gateway_failures import MeetsFailures
from contracts.gateway_world import CLOUD_GROUP, EXTRAS, GROUP, PERSON

from actors import errors
from actors.domain import GroupJid, Media, MediaKind, Quote
from actors.gateways.base import Ability
from middleware.clock import SystemClock


def media(kind: MediaKind, mimetype: str, file_name: str) -> Media:
    return Media(kind=kind, url=f"https://files.example/{file_name}", mimetype=mimetype, file_name=file_name)


class GatewayContract(MeetsFailures):
    """Subclass it with a fixture ``rig``."""

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

    def test_nothing_is_requested_for_an_empty_part(self, rig):
        before = rig.far.requests()

        with pytest.raises(errors.BadPayload):
            rig.send(rig.part("  "))

        assert rig.far.requests() == before

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
