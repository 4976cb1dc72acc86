"""How every store must announce what it wrote. A suite for ``store_contract.py``."""

from collections.abc import Iterator

import pytest
from contracts.store_world import GROUP, World, claim, conversation, group, message, race

from actors import events
from actors.domain import GroupInfo, Receipt
from actors.events import Event, GroupUpdated, MessageFailed, MessageSent, PictureUpdated

LINK = "https://cdn.example/picture.jpg"


class AnnouncesChanges:
    """Each change once, after its commit, by whoever made it."""

    @pytest.fixture
    def heard(self) -> Iterator[list[Event]]:
        heard: list[Event] = []
        unsubscribe = events.subscribe(heard.append)
        yield heard
        unsubscribe()

    def test_a_sent_message_is_announced_once_with_where_it_belongs(self, world: World, heard):
        thread = conversation(world, tenant_id="tenant-1", instance_name="line-1")
        sent = message(world, thread)
        taken = claim(world.store, sent.id, instance="line-2")

        world.store.record_sent(taken, Receipt(provider_message_id="P1"))
        world.store.record_sent(taken, Receipt(provider_message_id="P1"))
        world.store.mark_sent(sent.id, provider_message_id="P1")

        assert heard == [
            MessageSent(
                message_id=sent.id,
                conversation_id=thread.id,
                tenant_id="tenant-1",
                instance_name="line-2",
                provider_message_id="P1",
            )
        ]

    def test_a_failed_message_is_announced_once_for_each_time_that_it_fails(self, world: World, heard):
        thread = conversation(world, tenant_id="tenant-1")
        failed = message(world, thread)

        for _ in range(2):
            world.store.mark_failed(failed.id, code="expired", text="too late")
        world.store.mark_pending(failed.id)
        taken = claim(world.store, failed.id)
        for _ in range(2):
            world.store.record_failed(taken, provider_message_id="P1", code="undeliverable", text="lost")

        of = {"message_id": failed.id, "conversation_id": thread.id, "tenant_id": "tenant-1", "instance_name": "line-1"}
        assert heard == [MessageFailed(code="expired", **of), MessageFailed(code="undeliverable", **of)]

    def test_a_row_that_did_not_change_is_not_announced(self, world: World, heard):
        for status in ("sent", "delivered", "seen"):
            ahead = message(world, status=status)
            world.store.mark_sent(ahead.id, provider_message_id="P1")
            world.store.mark_failed(ahead.id, code="expired", text="too late")
            world.store.record_sent(claim(world.store, ahead.id), Receipt(provider_message_id="P2"))
        world.store.mark_sent(world.new_id(), provider_message_id="P1")

        assert heard == []

    def test_a_picture_is_announced_when_it_is_another(self, world: World, heard):
        thread = conversation(world, tenant_id="tenant-1")

        assert [world.store.save_picture(thread.id, url) for url in (LINK, LINK, "javascript:x")] == [True, True, False]

        assert heard == [PictureUpdated(conversation_id=thread.id, tenant_id="tenant-1", instance_name="line-1")]

    def test_a_group_is_announced_when_something_of_it_is_new(self, world: World, heard):
        team = group(world, tenant_id="tenant-1")
        for _ in range(2):
            world.store.merge_group(team.id, GroupInfo(jid=GROUP, subject="Team"))

        assert heard == [GroupUpdated(conversation_id=team.id, tenant_id="tenant-1", instance_name="line-1")]

    def test_of_many_that_end_a_row_at_once_one_announces_it(self, world: World, heard):
        sent = message(world)

        race(world, 8, lambda index: world.store.mark_sent(sent.id, provider_message_id=f"P{index}"))

        assert [event.message_id for event in heard] == [sent.id]

    def test_a_listener_sees_what_was_committed_and_may_fail(self, world: World, heard, caplog):
        sent = message(world)
        seen: list[str] = []

        def look_and_fail(event: Event) -> None:
            seen.append(world.another_store().load_message(event.message_id).status)
            raise RuntimeError("the words of a message")

        unsubscribe = events.subscribe(look_and_fail)
        try:
            assert world.store.mark_sent(sent.id, provider_message_id="P1") is True
        finally:
            unsubscribe()

        assert (seen, world.message(sent.id).status, len(heard)) == (["sent"], "sent", 1)
        [record] = [record for record in caplog.records if record.getMessage() == "event.listener_failed"]
        assert (vars(record)["code"], vars(record)["chat_message_id"]) == ("RuntimeError", sent.id)
        assert "words" not in caplog.text
