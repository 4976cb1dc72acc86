"""A webhook's view takes what shows its secret, in bounded size, and says nothing of anything else."""

import json
import logging

import pytest
from chat.models import WhatsAppInstance
from django.db import OperationalError, connection
from django.test import RequestFactory
from webhook_world import CLOUD, EVOLUTION, ROW_KEY, TOKEN, client, cloud_status, post, row, sent, site

from actors import intake, services
from actors.django_app import views
from actors.django_app.instance_keys import KEPT_MS, keys
from actors.errors import Transient
from actors.settings import Hidden
from middleware.clock import SystemClock

__all__ = ["client", "sent", "site"]

pytestmark = pytest.mark.django_db(transaction=True)


class Later(SystemClock):
    """As much later as the test says."""

    by_ms = 0

    def boot_ms(self) -> int:
        return super().boot_ms() + self.by_ms


def _status(status: str = "READ", *, key: object = ROW_KEY, **envelope: object) -> bytes:
    data = {"keyId": "3EB0", "fromMe": True, "status": status, "remoteJid": "5511988887777@s.whatsapp.net"}
    body = {"event": "messages.update", "instance": "line-1", "data": data, "apikey": key, **envelope}
    return json.dumps(body).encode()


# -- Evolution -------------------------------------------------------------------------------------------------------------


def test_what_shows_token_and_key_is_applied(client, sent):
    answer = post(client, EVOLUTION, _status())

    assert (answer.status_code, answer.content, row(sent)) == (200, b"", "seen")


@pytest.mark.parametrize("key", ["another", "", None, 7, ["the-key-of-the-row"], "Apikey not found", "schlüssel\ud800"])
def test_another_key_touches_nothing(client, sent, key, caplog):
    with caplog.at_level(logging.DEBUG):
        answer = post(client, EVOLUTION, _status(key=key))

    assert (answer.status_code, answer.content, row(sent)) == (403, b"", "sent")
    refused = [record for record in caplog.records if record.message == "webhook.refused"]
    assert [(record.instance, record.code) for record in refused] == [("line-1", "wrong_key")]
    said = "\n".join(logging.Formatter().format(record) for record in caplog.records)
    assert ROW_KEY not in said
    assert TOKEN not in said


def test_a_row_without_a_key_has_none_to_compare(client, sent):
    WhatsAppInstance.objects.update(api_key=None)

    assert post(client, EVOLUTION, _status(key="whatever Evolution says")).status_code == 200
    assert row(sent) == "seen"


def test_a_key_that_was_changed_is_known_within_a_second_and_the_old_one_forgotten_later(client, sent, serve):
    clock = Later()
    work = services.get()
    services.install(services.Services(settings=work.settings, store=work.store, clock=clock))
    assert post(client, EVOLUTION, _status()).status_code == 200
    WhatsAppInstance.objects.update(api_key="a-new-key")

    assert post(client, EVOLUTION, _status(key="a-new-key")).status_code == 403
    clock.by_ms = 1_500
    assert post(client, EVOLUTION, _status(key="a-new-key")).status_code == 200
    clock.by_ms += KEPT_MS
    assert post(client, EVOLUTION, _status()).status_code == 403


def test_the_key_of_a_row_that_is_seconds_old_is_compared_too(client, sent, serve):
    clock, work = Later(), services.get()
    services.install(services.Services(settings=work.settings, store=work.store, clock=clock))
    WhatsAppInstance.objects.update(api_key=None)
    assert post(client, EVOLUTION, _status(key="whatever")).status_code == 200
    # As a new row is: it was not there when the others were read.
    WhatsAppInstance.objects.update(api_key=ROW_KEY)
    clock.by_ms = 1_500

    assert post(client, EVOLUTION, _status(key="whatever")).status_code == 403


@pytest.mark.parametrize("token", ["another-token-of-the-same-kind", TOKEN[:-1], TOKEN + "x", "ü" * 28])
def test_another_token_is_told_that_there_is_nothing(client, sent, token, django_assert_num_queries):
    with django_assert_num_queries(0):
        answer = post(client, f"/hooks/evolution/{token}/", _status())

    assert (answer.status_code, answer.content) == (404, b"")
    assert row(sent) == "sent"


def test_without_settings_nobody_answers(serve, client):
    serve()

    assert post(client, EVOLUTION, _status()).status_code == 404
    assert post(client, CLOUD, cloud_status()).status_code == 404
    assert client.get(CLOUD).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[",
        b"[]" * 5,
        b'{"event": "messages.upsert", "instance": "line-1", "data": {"key": {"id": "1"}}}',
        b'{"event": "send.message", "instance": "line-1", "data": {"key": {"id": "1", "fromMe": false}}}',
        b'{"event": "messages.update", "instance": 7, "data": {}}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_an_event_that_does_not_matter_costs_no_query(client, site, body, django_assert_num_queries):
    with django_assert_num_queries(0):
        assert post(client, EVOLUTION, body).status_code == 200


def test_a_busy_instance_costs_no_query_for_its_key(client, sent, monkeypatch):
    keys.forget()
    read = []
    monkeypatch.setattr("actors.django_app.instance_keys.all_instances", lambda work: read.append(work) or iter(()))

    for _ in range(5):
        post(client, EVOLUTION, _status())

    assert len(read) == 1


def test_a_session_that_changes_is_heard(client, site, monkeypatch):
    heard = []
    monkeypatch.setattr(intake.instances, "heard", heard.append)
    body = {"event": "connection.update", "instance": "line-1", "apikey": ROW_KEY, "data": {"state": "open"}}

    assert post(client, EVOLUTION, json.dumps(body).encode()).status_code == 200
    assert [(one.instance_name, one.state) for one in heard] == [("line-1", "open")]


def test_redis_that_is_down_has_the_session_told_again(client, serve):
    serve(webhook_token=Hidden(TOKEN), redis_url=Hidden("redis://127.0.0.1:1/0"))
    WhatsAppInstance.objects.create(instance_name="line-1", tenant_id="t")
    body = {"event": "connection.update", "instance": "line-1", "data": {"state": "open"}}

    answer = post(client, EVOLUTION, json.dumps(body).encode())

    assert (answer.status_code, answer.content) == (503, b"")


# -- both ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [EVOLUTION, CLOUD])
def test_a_body_that_is_too_long_is_not_read(client, site, path, monkeypatch):
    monkeypatch.setattr(views, "MAX_BODY_BYTES", 100)

    assert post(client, path, b"x" * 101).status_code == 413
    assert post(client, path, b"x" * 100).status_code != 413


def test_a_body_that_hides_its_length_is_not_read_further(site, monkeypatch):
    monkeypatch.setattr(views, "MAX_BODY_BYTES", 100)
    request = RequestFactory().generic("POST", EVOLUTION, b"x" * 5_000)
    request.META["CONTENT_LENGTH"] = ""

    assert views.evolution(request, TOKEN).status_code == 413


@pytest.mark.parametrize("path", [EVOLUTION, CLOUD])
def test_another_method_is_refused(client, site, path):
    assert client.put(path, b"{}").status_code == 405


def test_a_store_that_is_down_has_the_provider_tell_again(client, sent, monkeypatch, caplog):
    def down(*args: object, **kwargs: object) -> None:
        raise Transient("the database did not answer", code="store_unavailable")

    monkeypatch.setattr(type(services.get().store), "attempt_of", down)

    answer = post(client, EVOLUTION, _status())

    assert (answer.status_code, answer.content) == (503, b"")
    assert [record.code for record in caplog.records if record.message == "webhook.put_off"] == ["store_unavailable"]


def test_a_bug_says_its_class_and_leaks_nothing(client, sent, monkeypatch, caplog):
    def broken(*args: object, **kwargs: object) -> None:
        raise ValueError("Failing row contains +5511988887777")

    monkeypatch.setattr(type(services.get().store), "attempt_of", broken)
    with caplog.at_level(logging.DEBUG):
        answer = post(client, EVOLUTION, _status())

    assert (answer.status_code, answer.content) == (500, b"")
    said = "\n".join(logging.Formatter().format(record) for record in caplog.records)
    assert "ValueError" in {getattr(record, "code", None) for record in caplog.records}
    for secret in ("5511988887777", ROW_KEY, TOKEN):
        assert secret not in said


def test_views_run_outside_a_host_s_transaction_per_request(client, sent, monkeypatch):
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    seen = []
    monkeypatch.setattr(intake, "apply_all", lambda updates: seen.append(connection.in_atomic_block))

    post(client, EVOLUTION, _status())

    assert seen == [False]


def test_an_error_of_the_database_itself_is_a_store_that_is_down(client, sent, monkeypatch):
    from django.db.models.query import QuerySet

    def refuse(self: object, *args: object, **kwargs: object) -> None:
        raise OperationalError("the server closed the connection unexpectedly")

    monkeypatch.setattr(QuerySet, "_fetch_all", refuse)

    assert post(client, EVOLUTION, _status()).status_code == 503
