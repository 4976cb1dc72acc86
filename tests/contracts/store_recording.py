"""How every store must write the host's rows. A suite for ``store_contract.py``."""

import pytest
from contracts.store_world import GROUP, NOW_MS, World, claim, conversation, group, message, race

from actors.domain import AttemptState, GroupInfo, Receipt

LINK = "https://cdn.example/picture.jpg"


class RecordsOutcomes:
    """Status of messages, pictures of people, facts of groups."""

    @pytest.mark.parametrize("status", ["pending", "failed"])
    def test_a_send_is_recorded_with_its_id_and_without_its_old_error(self, world: World, status):
        sent = message(world, status=status, error_message="expired: too late")

        assert world.store.mark_sent(sent.id, provider_message_id="P1") is True

        row = world.message(sent.id)
        assert (row.status, row.evolution_status, row.message_id, row.error_message) == ("sent", "sent", "P1", "")

    def test_a_send_without_an_id_keeps_the_one_it_had(self, world: World):
        sent = message(world, status="failed", message_id="P1")

        assert world.store.mark_sent(sent.id, provider_message_id=None) is True

        assert world.message(sent.id).message_id == "P1"

    @pytest.mark.parametrize("status", ["sent", "delivered", "seen"])
    def test_what_a_webhook_wrote_first_is_not_undone(self, world: World, status):
        ahead = message(world, status=status, message_id="P1", evolution_status="READ")

        assert world.store.mark_sent(ahead.id, provider_message_id="P2") is False
        assert world.store.mark_failed(ahead.id, code="expired", text="too late") is False
        assert world.store.mark_pending(ahead.id) is False

        row = world.message(ahead.id)
        assert (row.status, row.message_id, row.evolution_status, row.error_message) == (status, "P1", "READ", "")

    def test_a_row_that_is_further_but_has_no_id_gets_it(self, world: World):
        ahead = message(world, status="delivered")

        assert world.store.mark_sent(ahead.id, provider_message_id="P1") is False

        assert (world.message(ahead.id).status, world.message(ahead.id).message_id) == ("delivered", "P1")

    def test_an_id_that_another_row_of_the_conversation_has_does_not_stop_the_record(self, world: World):
        thread = conversation(world)
        echo = message(world, thread, status="sent", message_id="P1")
        sent = message(world, thread)
        elsewhere = message(world)

        assert world.store.mark_sent(sent.id, provider_message_id="P1") is True
        assert world.store.mark_sent(elsewhere.id, provider_message_id="P1") is True

        assert (world.message(sent.id).status, world.message(sent.id).message_id) == ("sent", None)
        assert [world.message(row.id).message_id for row in (echo, elsewhere)] == ["P1", "P1"]

    def test_a_failure_is_recorded_with_its_reason(self, world: World):
        failed = message(world)

        assert world.store.mark_failed(failed.id, code="expired", text="the deadline has passed") is True
        assert world.store.mark_failed(failed.id, code="other", text="again") is False

        row = world.message(failed.id)
        assert (row.status, row.error_message) == ("failed", "expired: the deadline has passed")

    def test_a_long_reason_is_cut(self, world: World):
        failed = message(world)

        world.store.mark_failed(failed.id, code="expired", text="x" * 900)

        assert len(world.message(failed.id).error_message) == 500

    def test_a_redrive_makes_the_row_pending_and_its_dead_parts_free(self, world: World):
        failed = message(world, status="failed", error_message="expired: too late")
        accepted, dead, unknown = (claim(world.store, failed.id, part) for part in range(3))
        world.store.settle(accepted, AttemptState.ACCEPTED, receipt=Receipt(provider_message_id="P1"))
        world.store.settle(dead, AttemptState.DEAD, reason="expired")
        world.store.settle(unknown, AttemptState.UNKNOWN)

        assert world.store.mark_pending(failed.id) is True

        assert (world.message(failed.id).status, world.message(failed.id).error_message) == ("pending", "")
        assert [row.state for row in world.store.attempts(failed.id)] == ["accepted", "retryable", "unknown"]
        assert world.store.mark_pending(failed.id) is False

    def test_a_row_that_does_not_exist_is_not_changed(self, world: World):
        missing = world.new_id()

        assert world.store.mark_sent(missing, provider_message_id="P1") is False
        assert world.store.mark_failed(missing, code="expired", text="too late") is False
        assert world.store.mark_pending(missing) is False
        assert world.store.save_picture(missing, LINK) is False
        assert world.store.merge_group(missing, GroupInfo(jid=GROUP, subject="Team")) is False

    def test_pending_messages_come_oldest_first_up_to_the_limit(self, world: World):
        thread = conversation(world)
        rows = [message(world, thread, created_at_ms=NOW_MS + offset) for offset in (3, 1, 2, 4)]
        ids = [rows[index].id for index in (1, 2, 0, 3)]

        assert world.store.pending_messages(before_ms=NOW_MS + 4, limit=10) == ids[:3]
        assert world.store.pending_messages(before_ms=NOW_MS + 99, limit=2) == ids[:2]

    def test_only_outgoing_messages_that_wait_are_pending(self, world: World):
        thread = conversation(world)
        waiting = message(world, thread)
        for values in (
            *({"status": status} for status in ("sent", "delivered", "seen", "failed")),
            {"direction": "incoming"},
            {"is_internal": True},
        ):
            message(world, thread, **values)

        assert world.store.pending_messages(before_ms=NOW_MS + 1, limit=10) == [waiting.id]

    def test_pages_of_pending_messages_reach_every_one_of_them(self, world: World):
        thread = conversation(world)
        # Rows of one bulk insert share their time.
        rows = [message(world, thread, created_at_ms=NOW_MS + index // 4) for index in range(9)]

        pages, after_id = [], None
        while page := world.store.pending_messages(before_ms=NOW_MS + 99, limit=2, after_id=after_id):
            pages += page
            after_id = page[-1]

        assert len(pages) == 9
        assert set(pages) == {row.id for row in rows}
        assert world.store.pending_messages(before_ms=NOW_MS + 99, limit=2, after_id=world.new_id()) == []

    def test_the_oldest_pending_message_of_a_conversation_is_known(self, world: World):
        thread, other = conversation(world), conversation(world)
        message(world, other, created_at_ms=NOW_MS - 9)
        message(world, thread, created_at_ms=NOW_MS - 8, status="sent")
        message(world, thread, created_at_ms=NOW_MS - 7, direction="incoming")
        message(world, thread, created_at_ms=NOW_MS - 6, is_internal=True)
        first, second, same_time, last = (
            message(world, thread, created_at_ms=NOW_MS + offset) for offset in (-2, -1, -1, 0)
        )

        assert world.store.older_pending(last.id) == first.id
        assert world.store.older_pending(second.id) == first.id
        assert world.store.older_pending(same_time.id) == first.id
        assert world.store.older_pending(first.id) is None
        assert world.store.older_pending(world.new_id()) is None

    def test_a_picture_is_stored_and_never_cleared(self, world: World):
        thread = conversation(world)

        assert world.store.save_picture(thread.id, LINK) is True
        for refused in ("", LINK + "x" * 500, "javascript:alert(1)"):
            assert world.store.save_picture(thread.id, refused) is False

        assert world.conversation(thread.id).profile_pic_url == LINK

    def test_a_groups_facts_are_merged(self, world: World):
        kept = {"participants": [{"jid": "1@lid"}], "participants_updated_at": "2025-01-01", "instance_removed": False}
        team = group(world, contact_name="Old", group_metadata={"group_id": GROUP, "description": "old", **kept})
        info = GroupInfo(jid=GROUP, subject="Team", picture_url=LINK, size=3, participants=({"jid": "2@lid"},))

        assert world.store.merge_group(team.id, info) is True

        row = world.conversation(team.id)
        assert (row.contact_name, row.profile_pic_url) == ("Team", LINK)
        assert row.group_metadata == {
            **kept,
            "group_id": GROUP,
            "group_name": "Team",
            "group_pic_url": LINK,
            "participants_count": 3,
            "description": "old",
            "is_group": True,
        }

    def test_what_the_gateway_does_not_say_stays(self, world: World):
        team = group(world, contact_name="Team", profile_pic_url=LINK, group_metadata={"group_name": "Team"})

        assert world.store.merge_group(team.id, GroupInfo(jid=GROUP)) is True

        row = world.conversation(team.id)
        assert (row.contact_name, row.profile_pic_url) == ("Team", LINK)
        assert row.group_metadata == {"group_name": "Team", "group_id": GROUP, "is_group": True}

    def test_participants_are_stored_where_the_host_has_none(self, world: World):
        team = group(world)

        world.store.merge_group(team.id, GroupInfo(jid=GROUP, participants=({"jid": "2@lid"},)))

        assert world.conversation(team.id).group_metadata["participants"] == [{"jid": "2@lid"}]

    def test_a_fetch_never_changes_where_a_group_is_sent_to(self, world: World):
        team = group(world, group_metadata={"group_id": GROUP})

        world.store.merge_group(team.id, GroupInfo(jid="120363025246125486@g.us", subject="Team"))

        assert world.conversation(team.id).group_metadata["group_id"] == GROUP

    def test_a_person_is_not_made_a_group(self, world: World):
        person = conversation(world, contact_name="Ana")

        assert world.store.merge_group(person.id, GroupInfo(jid=GROUP, subject="Team")) is False

        assert world.conversation(person.id) == person


class RecordsRaces:
    """The same, with others writing meanwhile."""

    def test_a_merge_loses_no_key_that_another_writer_adds_meanwhile(self, world: World):
        team = group(world)
        keys = [f"key_{index}" for index in range(24)]
        stores = [world.store, world.another_store()]

        def write(index: int) -> None:
            for number, key in enumerate(keys):
                if index:
                    stores[index % 2].merge_group(team.id, GroupInfo(jid=GROUP, subject=f"Team {number}", size=number))
                else:
                    world.write_group_key(team.id, key, "kept")

        race(world, 3, write)

        metadata = world.conversation(team.id).group_metadata
        assert {key: metadata.get(key) for key in keys} == dict.fromkeys(keys, "kept")
        assert (metadata["participants_count"], metadata["group_name"]) == (23, "Team 23")

    def test_a_row_that_is_sent_and_failed_at_once_ends_as_sent(self, world: World):
        rows = [message(world) for _ in range(6)]

        def end(index: int) -> bool:
            row = rows[index // 2]
            if index % 2:
                return world.store.mark_sent(row.id, provider_message_id=f"P{index}")
            return world.store.mark_failed(row.id, code="expired", text="too late")

        race(world, 12, end)

        for row in rows:
            ended = world.message(row.id)
            assert (ended.status, bool(ended.message_id), ended.error_message) == ("sent", True, "")
