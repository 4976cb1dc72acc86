"""A plain ``.send()`` inside a transaction is warned of: which transactions count, at which line, and how often."""

import warnings

import pytest
from chat.models import Message
from chatsite.databases import database as chatsite_database
from contracts.django_world import database
from django.db import connection, transaction
from django.http import HttpResponse
from django.test import Client, TestCase
from django.urls import path

import actors
from actors.django_app.send import SentInTransaction, send_on_commit

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]


def _warned(call) -> list[warnings.WarningMessage]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        call()
    return caught


def test_a_plain_send_inside_a_transaction_is_warned_of_at_its_line_and_once(installed, say, queued):
    def view() -> None:
        for _ in range(3):
            with transaction.atomic():
                actors.send_message.send(say())

    [warned] = _warned(view)

    assert (warned.category, warned.filename) == (SentInTransaction, __file__)
    assert warned.lineno == view.__code__.co_firstlineno + 3
    assert "send_on_commit(send_message" in str(warned.message)
    assert issubclass(SentInTransaction, RuntimeWarning)
    assert len(queued()) == 3


def test_every_call_site_is_told_of_and_a_filter_silences_them(installed, say):
    def views() -> None:
        with transaction.atomic():
            actors.send_message.send(say())
            actors.send_message.send_many([say()])
            actors.send_message.send_with_options(args=(say(),))

    assert len(_warned(views)) == 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", category=SentInTransaction)
        views()


def test_where_nothing_is_open_nothing_is_warned_of(installed, say, queued):
    def views() -> None:
        actors.send_message.send(say())
        with transaction.atomic():
            actors.send_message.send_with_options(args=(say(),), on_commit=False)
            send_on_commit(actors.send_message, say())

    assert _warned(views) == []
    assert len(queued()) == 3


def test_a_transaction_opened_by_hand_is_warned_of(installed, say):
    id_ = say()
    transaction.set_autocommit(False)
    try:
        assert [one.category for one in _warned(lambda: actors.send_message.send(id_))] == [SentInTransaction]
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)


def _plain(request):
    actors.send_message.send(Message.objects.get().pk)
    return HttpResponse()


urlpatterns = [path("plain/", _plain)]


def test_atomic_requests_make_every_view_a_transaction(installed, say, settings, monkeypatch):
    say()
    settings.ROOT_URLCONF = __name__
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)

    [warned] = _warned(lambda: Client().get("/plain/"))

    assert warned.lineno == _plain.__code__.co_firstlineno + 1


def test_with_several_databases_the_one_of_the_rows_counts(installed, say, queued, tmp_path, django_db_blocker):
    with database(chatsite_database(str(tmp_path / "other.sqlite3")), django_db_blocker) as other:

        def view() -> None:
            with transaction.atomic(using=other):
                actors.send_message.send(say())
                send_on_commit(actors.send_message, say())

        assert _warned(view) == []
        assert len(queued()) == 2
        with transaction.atomic(using=other):
            send_on_commit(actors.send_message, say(), using=other)
            assert len(queued()) == 2
        assert len(queued()) == 3
        with transaction.atomic():
            send_on_commit(actors.send_message, say())
            with transaction.atomic(using=other):
                send_on_commit(actors.send_message, say())
            assert len(queued()) == 3
        assert len(queued()) == 5


@pytest.mark.usefixtures("installed_for_class")
class TestHosts(TestCase):
    """A host's own ``TestCase``: a transaction of the test is none of the code under test."""

    def test_a_plain_send_is_as_in_production(self):
        warned = _warned(lambda: actors.send_message.send(self.say()))

        assert warned == []
        assert len(self.queued()) == 1

    def test_a_block_of_the_code_under_test_is_warned_of(self):
        def view() -> None:
            with transaction.atomic():
                actors.send_message.send(self.say())

        assert [one.category for one in _warned(view)] == [SentInTransaction]

    def test_what_waits_is_sent_by_captured_callbacks(self):
        id_ = self.say()
        with self.captureOnCommitCallbacks() as callbacks, transaction.atomic():
            send_on_commit(actors.send_message, id_)
        assert (len(callbacks), self.queued()) == (1, [])

        with self.captureOnCommitCallbacks(execute=True), transaction.atomic():
            send_on_commit(actors.send_message, id_)
        assert self.queued() == [id_]


@pytest.fixture
def installed_for_class(request, installed, say, queued):
    request.instance.say, request.instance.queued = say, queued
