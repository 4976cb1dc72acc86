"""What every store must find, and how it must read it. Suites for ``store_contract.py``."""

import pytest
from contracts.store_world import GROUP, NOW_MS, PHONE, World, conversation, group, message

from actors.domain import ConversationType, GroupJid, MediaKind, MessageStatus, Phone, Quote, Route
from actors.errors import NotFound, Permanent
from actors.stores.rows import AttachmentRow


class ReadsMessages:
    """Messages, conversations and where they belong."""

    def test_a_route_names_conversation_instance_and_tenant(self, world: World):
        thread = conversation(world, tenant_id="tenant-1", instance_name="line-1")
        sent = message(world, thread)

        route = Route(conversation_id=thread.id, instance_name="line-1", tenant_id="tenant-1")
        assert world.store.route(sent.id) == route
        assert world.store.conversation_route(thread.id) == route

    def test_a_route_follows_the_preference_of_the_message(self, world: World):
        sent = message(world, metadata={"flow_prefer_instance_name": "line-2"})

        assert world.store.route(sent.id).instance_name == "line-2"

    def test_what_does_not_exist_has_no_route(self, world: World):
        assert world.store.route(world.new_id()) is None
        assert world.store.conversation_route(world.new_id()) is None

    def test_many_are_known_at_once_and_those_without_a_row_are_left_out(self, world: World):
        thread = conversation(world, tenant_id="tenant-1", instance_name="line-1")
        waits = message(world, thread, metadata={"flow_prefer_instance_name": "line-2"})
        went = message(world, thread, status=MessageStatus.SENT, message_id="P1")
        asked = [waits.id, world.new_id(), went.id, "not-an-id"]

        found = world.store.known_messages(asked)

        assert {id_: (known.status, known.provider_message_id) for id_, known in found.items()} == {
            waits.id: ("pending", None),
            went.id: ("sent", "P1"),
        }
        assert {id_: known.route for id_, known in found.items()} == {id_: world.store.route(id_) for id_ in found}
        assert found[waits.id].route.instance_name == "line-2"
        assert world.store.known_messages([]) == {}

    def test_where_many_conversations_belong_is_found_at_once(self, world: World):
        one, other = conversation(world, instance_name="line-1"), conversation(world, instance_name="line-2")

        found = world.store.conversation_routes([one.id, world.new_id(), other.id, ""])

        assert {id_: route.instance_name for id_, route in found.items()} == {one.id: "line-1", other.id: "line-2"}
        assert world.store.conversation_routes([]) == {}

    @pytest.mark.parametrize("nonsense", ["", "not-an-id", "9" * 40, "'; --", "None"])
    def test_a_text_that_can_be_no_id_is_a_row_that_does_not_exist(self, world: World, nonsense):
        assert world.store.route(nonsense) is None
        assert world.store.conversation_route(nonsense) is None
        with pytest.raises(NotFound):
            world.store.load_message(nonsense)
        with pytest.raises(NotFound):
            world.store.load_conversation(nonsense)
        assert world.store.mark_sent(nonsense, provider_message_id="P1") is False
        assert world.store.attempts(nonsense) == []

    def test_a_missing_row_is_named(self, world: World):
        missing = world.new_id()

        with pytest.raises(NotFound, match=missing):
            world.store.load_message(missing)
        with pytest.raises(NotFound, match=missing):
            world.store.load_conversation(missing)

    def test_a_message_comes_with_everything_that_sending_needs(self, world: World):
        thread = conversation(world, tenant_id="tenant-1", contact_phone=PHONE, instance_name="line-1")
        sent = message(world, thread, content="hello", created_at_ms=NOW_MS + 7)

        found = world.store.load_message(sent.id)

        assert (found.id, found.conversation_id, found.tenant_id) == (sent.id, thread.id, "tenant-1")
        assert (found.text, found.status, found.created_at_ms) == ("hello", MessageStatus.PENDING, NOW_MS + 7)
        assert found.instance_name == "line-1"
        assert found.recipient() == Phone(PHONE)
        assert (found.media, found.announced_media, found.quote, found.provider_message_id) == ((), 0, None, None)
        assert found.is_internal is False

    def test_what_was_sent_before_says_so(self, world: World):
        sent = message(world, status="delivered", message_id="P1")

        found = world.store.load_message(sent.id)

        assert (found.status, found.provider_message_id) == (MessageStatus.DELIVERED, "P1")

    def test_an_internal_note_is_marked_as_one(self, world: World):
        assert world.store.load_message(message(world, is_internal=True).id).is_internal is True

    @pytest.mark.parametrize(
        ("values", "code"),
        [
            ({"direction": "incoming"}, "not_outgoing"),
            ({"is_deleted": True}, "message_deleted"),
            ({"status": "lost"}, "bad_row"),
        ],
    )
    def test_a_message_that_can_never_be_sent_says_why(self, world: World, values, code):
        unsendable = message(world, **values)

        with pytest.raises(Permanent) as caught:
            world.store.load_message(unsendable.id)
        assert caught.value.code == code
        assert unsendable.id in str(caught.value)
        assert "hello" not in str(caught.value)

    def test_a_conversation_of_an_unknown_kind_is_refused(self, world: World):
        thread = conversation(world, conversation_type="channel")

        with pytest.raises(Permanent) as caught:
            world.store.load_conversation(thread.id)
        assert caught.value.code == "bad_row"

    def test_a_conversation_comes_with_what_the_fetches_need(self, world: World):
        thread = conversation(world, tenant_id="tenant-1", profile_pic_url="https://cdn.example/1.jpg")

        found = world.store.load_conversation(thread.id)

        assert (found.id, found.tenant_id, found.instance_name) == (thread.id, "tenant-1", "line-1")
        assert found.conversation_type is ConversationType.INDIVIDUAL
        assert (found.recipient(), found.picture_url) == (Phone(PHONE), "https://cdn.example/1.jpg")

    def test_a_group_is_addressed_by_its_stored_id_before_its_phone(self, world: World):
        by_id = group(world, contact_phone="Team", group_metadata={"group_id": "120363025246125486@g.us"})
        by_phone = group(world, contact_phone=GROUP)

        assert world.store.load_conversation(by_id.id).recipient() == GroupJid("120363025246125486@g.us")
        assert world.store.load_conversation(by_phone.id).recipient() == GroupJid(GROUP)
        assert world.store.load_message(message(world, by_id).id).recipient() == GroupJid("120363025246125486@g.us")

    def test_a_persons_address_is_never_a_group_id(self, world: World):
        thread = conversation(world, group_metadata={"group_id": GROUP})

        assert world.store.load_conversation(thread.id).recipient() == Phone(PHONE)

    def test_a_reply_quotes_what_the_gateway_knows(self, world: World):
        thread = conversation(world)
        theirs = message(world, thread, direction="incoming", status="seen", message_id="P1", content="às 8h?")
        ours = message(world, thread, status="sent", message_id="P2", content="sim")

        quotes = [
            world.store.load_message(message(world, thread, metadata={"reply_to": original.id}).id).quote
            for original in (theirs, ours)
        ]

        assert quotes == [
            Quote(provider_message_id="P1", from_me=False, text="às 8h?"),
            Quote(provider_message_id="P2", from_me=True, text="sim"),
        ]

    def test_what_was_taken_back_is_not_said_again_by_a_reply(self, world: World):
        thread = conversation(world)
        theirs = message(world, thread, direction="incoming", message_id="P1", content="oops", is_deleted=True)
        reply = message(world, thread, metadata={"reply_to": theirs.id})

        assert world.store.load_message(reply.id).quote == Quote(provider_message_id="P1", from_me=False)

    @pytest.mark.parametrize(
        ("sender_phone", "participant"),
        [
            ("+5511977776666", "5511977776666@s.whatsapp.net"),
            ("123456789012345@lid", "123456789012345@lid"),
            ("", None),
        ],
    )
    def test_a_reply_in_a_group_names_the_author(self, world: World, sender_phone, participant):
        team = group(world)
        theirs = message(world, team, direction="incoming", message_id="P1", sender_phone=sender_phone)
        reply = message(world, team, metadata={"reply_to": theirs.id})

        assert world.store.load_message(reply.id).quote.participant == participant

    def test_a_reply_to_another_conversation_or_to_nothing_known_is_sent_plain(self, world: World, caplog):
        elsewhere = message(world, direction="incoming", message_id="P1")
        thread = conversation(world)
        unsent = message(world, thread)

        for target in (elsewhere.id, unsent.id, world.new_id(), "nonsense"):
            reply = message(world, thread, metadata={"reply_to": target})
            assert world.store.load_message(reply.id).quote is None
            assert caplog.records[-1].getMessage() == "message.quote_dropped"
            assert caplog.records[-1].chat_message_id == reply.id

    def test_mentions_are_digits_or_linked_ids_each_once(self, world: World):
        named = [{"phone": "+55 11 97777-6666", "name": "Ana"}, {"jid": "123456789012345@lid"}, "5511977776666", None]
        sent = message(world, group(world), metadata={"mentions": named, "mention_everyone": True})

        found = world.store.load_message(sent.id)

        assert found.mentions == ("5511977776666", "123456789012345@lid")
        assert found.mention_everyone is True

    def test_nobody_is_mentioned_to_a_single_person(self, world: World):
        sent = message(world, metadata={"mentions": ["5511977776666"], "mention_everyone": True})

        found = world.store.load_message(sent.id)

        assert (found.mentions, found.mention_everyone) == ((), False)


class ReadsFiles:
    """Attachments, for stores whose host has them."""

    def test_attachments_come_in_order_with_the_short_url_first(self, world: World):
        sent = message(world, metadata={"attachment_urls": ["a", "b"]})
        later = AttachmentRow(
            message_id=sent.id, created_at_ms=NOW_MS + 2, mime_type="application/pdf", original_filename="plan.pdf",
            file_url="https://files.example/2?signature=long", short_url="https://chat.example/m/2",
        )  # fmt: skip
        first = AttachmentRow(
            message_id=sent.id, created_at_ms=NOW_MS + 1, mime_type="image/jpeg", file_url="https://files.example/1"
        )
        world.add(later, first)

        found = world.store.load_message(sent.id)

        assert [(media.kind, media.url, media.file_name) for media in found.media] == [
            (MediaKind.IMAGE, "https://files.example/1", "file.jpg"),
            (MediaKind.DOCUMENT, "https://chat.example/m/2", "plan.pdf"),
        ]
        assert found.announced_media == 2

    def test_a_file_that_was_announced_and_is_not_there_is_counted(self, world: World):
        announced = message(world, metadata={"attachment_urls": ["a", "b"]})
        empty = message(world)
        world.add(AttachmentRow(message_id=empty.id, created_at_ms=NOW_MS, mime_type="image/png"))

        for row, missing in ((announced, 2), (empty, 1)):
            found = world.store.load_message(row.id)
            assert (found.media, found.announced_media) == ((), missing)

    def test_attachments_of_another_message_stay_there(self, world: World):
        other, sent = message(world), message(world)
        world.add(
            AttachmentRow(
                message_id=other.id, created_at_ms=NOW_MS, mime_type="image/png", file_url="https://a.example/1"
            )
        )

        assert world.store.load_message(sent.id).media == ()
