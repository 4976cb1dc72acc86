"""A send that waits for its commit comes after it or not at all; a queue that is down then is what the settings say."""

import warnings

import dramatiq
import pytest
from chat.models import Message
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext

import actors
from actors import services
from actors.django_app.models import SendOptions
from actors.django_app.send import send_on_commit
from actors.errors import SettingsError
from middleware.actor import Routed, routed
from middleware.errors import QueueUnavailable
from middleware.sending import AtOnce, policy, use_policy

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]


@pytest.fixture
def note(queue):
    """An actor of the host's own that waits for commits."""

    @dramatiq.actor(broker=queue, actor_class=routed(lambda id_: Routed(kwargs={"message_id": id_}), on_commit=True))
    def note(message_id):
        raise AssertionError("nothing runs here")

    return note


def test_with_the_setting_a_plain_send_waits_for_the_commit(installed, say, queued):
    installed(on_commit="send_message, fetch_group_info")

    with transaction.atomic():
        id_ = say()
        promised = actors.send_message.send(id_)
        assert queued() == []
        assert promised.kwargs == {"message_id": id_}

    assert queued() == [id_]
    [job] = [actors.broker.decode(body) for body in actors.broker.client.hvals("chat:queue:send_message.msgs")]
    assert job.message_id == promised.message_id


@pytest.mark.parametrize(("chosen", "waits"), [("all", True), ("fetch_profile_pic", False), (None, False)])
def test_the_setting_names_who_waits(installed, say, queued, chosen, waits):
    installed(on_commit=chosen)

    with warnings.catch_warnings(), transaction.atomic():
        warnings.simplefilter("ignore")
        actors.send_message.send(say())
        assert len(queued()) == (0 if waits else 1)


def test_an_actor_of_the_hosts_may_wait_by_itself(queue, note, say):
    with transaction.atomic():
        id_ = say()
        note.send(id_)
        note.send_with_options(args=("now",), on_commit=False)
        assert [sent for sent, _ in queue.sent] == ["now"]

    assert queue.sent[1:] == [(id_, True)]


def test_nested_blocks_wait_for_the_outermost(queue, note, say):
    with transaction.atomic():
        with transaction.atomic():
            inner = say()
            note.send(inner)
        assert queue.sent == []
        note.send("outer")

    assert [id_ for id_, _ in queue.sent] == [inner, "outer"]


@pytest.mark.parametrize("durable", [False, True])
def test_what_is_rolled_back_is_not_sent(queue, note, say, durable):
    def view() -> None:
        with transaction.atomic(durable=durable):
            note.send(say())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        view()

    assert queue.asked == 0
    with transaction.atomic(durable=durable):
        id_ = say()
        note.send(id_)
    assert queue.sent == [(id_, True)]


def test_a_savepoint_takes_only_its_own_along(queue, note):
    with transaction.atomic():
        note.send("before")
        with transaction.atomic():
            note.send("lost")
            transaction.set_rollback(True)
        note.send("after")

    assert [id_ for id_, _ in queue.sent] == ["before", "after"]


def test_what_a_sender_allows_commits_with_the_row_or_goes_with_it(installed, say):
    with transaction.atomic():
        kept = say()
        send_on_commit(actors.send_message, kept, use_fallback=True, bulk=True)
        with connections["default"].cursor() as cursor:
            cursor.execute("SELECT use_fallback, bulk FROM chat_actors_sendoptions")
            assert [tuple(map(bool, row)) for row in cursor.fetchall()] == [(True, True)]
        with transaction.atomic():
            send_on_commit(actors.send_message, say(), bulk=True)
            transaction.set_rollback(True)

    assert [row.message_id for row in SendOptions.objects.all()] == [kept]


def test_a_row_saved_after_its_send_still_keeps_its_lane(installed, say, queue_client):
    id_ = "0c8f0c1a-1a6e-4b9d-8a63-0c1f5e2d7a10"
    with transaction.atomic():
        send_on_commit(actors.send_message, id_)
        say(id=id_)

    [lane] = [lane.decode() for lane in queue_client.hkeys("chat:queue:send_message.lanes")]
    assert lane == str(Message.objects.get().conversation_id)


def test_after_the_commit_one_send_asks_the_database_nothing(installed, say):
    with transaction.atomic():
        send_on_commit(actors.send_message, say())
        after = CaptureQueriesContext(connection)
        transaction.on_commit(after.__enter__)
        send_on_commit(actors.send_message, say())
    after.__exit__(None, None, None)

    assert len(after) == 0


class Down(AtOnce):
    """Stands for nothing; the suite puts the app's policy back."""


def test_the_policy_is_installed_by_the_app():
    mine = policy()
    use_policy(Down())
    try:
        assert isinstance(policy(), Down)
    finally:
        use_policy(mine)
    assert type(mine).__name__ == "Commits"


def test_a_failure_after_the_commit_is_raised_where_that_is_asked_for(queue, send_message, say):
    queue.error = QueueUnavailable("nobody there")

    def view() -> None:
        with transaction.atomic():
            send_on_commit(send_message, say(), robust=False)

    with pytest.raises(QueueUnavailable):
        view()
    assert Message.objects.get().status == "pending"


@pytest.mark.parametrize("many", [False, True])
def test_the_setting_says_what_a_queue_that_is_down_comes_to(installed, say, caplog, many):
    down = {"redis_url": services.settings().redis_url.__class__("redis://127.0.0.1:1/0")}

    def plain():
        send = actors.send_message
        return send.send_many([id_]) if many else send.send(id_)

    def waiting() -> None:
        with transaction.atomic():
            send_on_commit(actors.send_message, id_)

    id_ = say()
    installed(**down)
    waiting()
    with pytest.raises(QueueUnavailable if not many else Exception, match="enqueue"):
        plain()
    assert actors.send_message.try_send(id_) is False
    installed(**down, on_queue_down="quiet")
    assert plain() is False
    installed(**down, on_queue_down="raise")
    with pytest.raises(QueueUnavailable):
        waiting()
    with pytest.raises(Exception, match="enqueue"):
        plain()
    codes = [one.code for one in caplog.records if one.getMessage().endswith(".enqueue_failed")]
    assert codes == ["queue_unavailable"] * 2 + ["not_all_sent" if many else "queue_unavailable"]


def test_a_setting_that_names_nobody_is_a_fault():
    with pytest.raises(SettingsError, match="ON_COMMIT"):
        services.Settings.load({}, {"ON_COMMIT": "send_mesage"})
