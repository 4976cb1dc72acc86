"""What the Django store promises beyond the contract: the host's rows are touched as its authors would want it."""

import re
import threading
import uuid
from types import SimpleNamespace

import pytest
from chat.models import Conversation, Message
from contracts.django_world import DjangoWorld
from contracts.store_world import GROUP, NOW_MS, claim, conversation, first, group, message
from django.db import connections, transaction
from django.db.models.signals import post_save, pre_save
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from waiting import until

from actors.domain import AttemptState, GroupInfo, Receipt
from actors.errors import ChatError, Permanent, SettingsError, Transient
from actors.stores.base import make_store
from actors.stores.django_host import to_moment, to_ms
from actors.stores.django_orm import DjangoStore
from actors.stores.rows import AttachmentRow


@pytest.fixture
def world(sqlite_alias, unblocked):
    world = DjangoWorld(sqlite_alias)
    yield world
    world.clear()


@pytest.fixture
def postgres_world(postgres_alias, unblocked):
    world = DjangoWorld(postgres_alias)
    yield world
    world.clear()


@pytest.fixture
def saved():
    """Senders whose ``save()`` was called."""
    seen: list[type] = []

    def note(sender: type, **kwargs: object) -> None:
        seen.append(sender)

    for signal in (pre_save, post_save):
        signal.connect(note)
    yield seen
    for signal in (pre_save, post_save):
        signal.disconnect(note)


def _settings(**values):
    return SimpleNamespace(**{"models": {}, "field_map": {}, **values})


def test_no_row_of_the_host_is_ever_saved(world, saved):
    team = group(world)
    sent, failed = message(world, team), message(world, team)
    saved.clear()

    world.store.merge_group(team.id, GroupInfo(jid=GROUP, subject="Team"))
    world.store.save_picture(team.id, "https://cdn.example/1.jpg")
    world.store.mark_sent(sent.id, provider_message_id="P1")
    world.store.mark_failed(failed.id, code="expired", text="too late")
    world.store.mark_pending(failed.id)

    assert saved == []


def test_a_send_is_recorded_in_one_statement(world):
    sent = message(world)

    with CaptureQueriesContext(connections[world.alias]) as queries:
        world.store.mark_sent(sent.id, provider_message_id="P1")

    written = [query["sql"] for query in queries if not re.match("BEGIN|COMMIT|SAVEPOINT|RELEASE", query["sql"])]
    assert len(written) == 1
    assert re.search(r"""UPDATE.*'P1'.*WHERE.*"status" IN \('pending', 'failed'\)""", written[0])
    assert "'sent'" in written[0]


def test_the_host_sees_when_its_row_was_changed(world):
    sent = message(world)
    before = Message.objects.using(world.alias).get(pk=sent.id).updated_at

    world.store.mark_sent(sent.id, provider_message_id="P1")

    assert Message.objects.using(world.alias).get(pk=sent.id).updated_at > before


def test_a_conversation_does_not_move_in_the_inbox_because_of_a_fetch(world):
    team = group(world)
    before = Conversation.objects.using(world.alias).get(pk=team.id).updated_at

    world.store.merge_group(team.id, GroupInfo(jid=GROUP, subject="Team"))

    assert Conversation.objects.using(world.alias).get(pk=team.id).updated_at == before


def test_a_route_costs_one_query_and_a_load_three_at_most(world):
    thread = conversation(world)
    original = message(world, thread, status="sent", message_id="P0")
    reply = message(world, thread, metadata={"reply_to": original.id})
    world.add(
        AttachmentRow(message_id=reply.id, created_at_ms=NOW_MS, mime_type="image/png", file_url="https://a.example/1")
    )

    with CaptureQueriesContext(connections[world.alias]) as routing:
        world.store.route(reply.id)
    with CaptureQueriesContext(connections[world.alias]) as loading:
        world.store.load_message(reply.id)

    assert (len(routing), len(loading)) == (1, 3)


def test_two_spellings_of_one_id_are_one_attempt(world):
    sent = message(world)
    spelled = uuid.UUID(sent.id).hex.upper()

    taken = claim(world.store, spelled)

    assert taken.message_id == sent.id
    assert world.store.attempts(spelled) == world.store.attempts(sent.id) == [taken]
    assert world.store.claim(first(sent.id)) is None


def test_a_claim_that_could_still_be_undone_is_refused(world):
    sent = message(world)

    with transaction.atomic(using=world.alias), pytest.raises(ChatError) as caught:
        claim(world.store, sent.id)

    assert caught.value.code == "claim_not_committed"
    assert sent.id in str(caught.value)
    assert world.store.attempts(sent.id) == []


@pytest.mark.django_db
def test_a_test_case_of_the_host_may_claim():
    """Django's TestCase wraps every test in a transaction; that one is known to it and no reason to refuse."""
    store = make_store("django", _settings())

    assert claim(store, str(uuid.uuid4())).number == 1


def test_a_broken_attempt_table_is_a_store_that_is_down(world):
    with connections[world.alias].cursor() as cursor:
        cursor.execute("ALTER TABLE chat_actors_sendattempt RENAME TO elsewhere")
    try:
        with pytest.raises(Transient) as caught:
            world.store.attempts("m-1")
    finally:
        with connections[world.alias].cursor() as cursor:
            cursor.execute("ALTER TABLE elsewhere RENAME TO chat_actors_sendattempt")

    assert caught.value.code == "store_unavailable"
    assert "elsewhere" not in str(caught.value)


@pytest.mark.postgres
def test_a_connection_that_the_server_closed_is_replaced(postgres_world):
    world = postgres_world
    sent = message(world)
    with connections[world.alias].cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        pid = cursor.fetchone()[0]
    killer = connections[world.alias].copy()
    with killer.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", [pid])
    killer.close()

    with pytest.raises(Transient):
        world.store.load_message(sent.id)
    world.store.close_stale_connections()

    assert world.store.load_message(sent.id).id == sent.id


@pytest.mark.postgres
def test_a_thread_that_ends_leaves_no_connection_behind(postgres_world):
    pids = []

    def work() -> None:
        with connections[postgres_world.alias].cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            pids.extend(cursor.fetchone())
        postgres_world.store.close_thread_connections()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

    def is_gone() -> bool:
        with connections[postgres_world.alias].cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE pid = %s", pids)
            return cursor.fetchone() == (0,)

    until(is_gone, within_ms=5_000)


@pytest.mark.postgres
def test_a_refused_outcome_leaves_the_callers_transaction_usable(postgres_world):
    """On PostgreSQL a violated constraint ends the transaction, unless a savepoint catches it."""
    world = postgres_world
    receipt = Receipt(provider_message_id="P1")
    first, second = message(world), message(world)
    taken = [claim(world.store, row.id) for row in (first, second)]
    world.store.settle(taken[0], AttemptState.ACCEPTED, receipt=receipt)

    with transaction.atomic(using=world.alias):
        assert world.store.settle(taken[1], AttemptState.ACCEPTED, receipt=receipt)
        assert world.store.mark_sent(second.id, provider_message_id="P2")

    assert world.message(second.id).status == "sent"


@pytest.mark.parametrize("use_tz", [True, False])
def test_times_survive_the_projects_way_of_keeping_them(settings, use_tz):
    settings.USE_TZ = use_tz

    assert timezone.is_naive(to_moment(NOW_MS)) is not use_tz
    assert to_ms(to_moment(NOW_MS + 123)) == NOW_MS + 123


def test_the_store_of_the_settings_is_this_one():
    store = make_store("django", _settings())

    assert isinstance(store, DjangoStore)
    assert store.name == "django"


def test_a_database_without_autocommit_is_refused(world, monkeypatch):
    monkeypatch.setitem(connections["default"].settings_dict, "AUTOCOMMIT", False)

    with pytest.raises(SettingsError, match="AUTOCOMMIT"):
        make_store("django", _settings())


def test_a_message_whose_conversation_names_no_instance_has_no_route_to_one(world):
    sent = message(world, conversation(world, instance_name=""))

    assert world.store.route(sent.id).instance_name is None
    with pytest.raises(Permanent):
        world.store.load_message(str(uuid.uuid4()))
