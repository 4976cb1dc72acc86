"""Read marks, a group's info and the doctor's look at a live Cloud API: no message, and each may be made again."""

import pytest
from cloud_sends import GROUP, gateway, sandbox

from actors import errors
from actors.gateways.base import make_gateway
from actors.settings import Hidden, Settings

__all__ = ["gateway", "sandbox"]

pytestmark = pytest.mark.contract


def test_a_read_mark_is_no_message(gateway, sandbox):
    gateway.mark_read("wamid.1", instance=sandbox.cloud_instance())

    assert [one["op"] for one in sandbox.admin.requests()] == ["read"]
    assert sandbox.admin.deliveries() == []


@pytest.mark.parametrize(
    ("message_id", "action", "kind", "code"),
    [
        ("3EB0", None, errors.BadPayload, "bad_payload"),
        ("wamid.1", {"type": "drop"}, errors.Transient, "connection_lost"),
        ("wamid.1", {"type": "status", "preset": "nginx_504"}, errors.Transient, "bad_gateway"),
        ("wamid.1", {"type": "status", "status": 200, "body": {"success": False}}, errors.Transient, "not_json"),
    ],
)
def test_a_read_mark_may_be_made_again(gateway, sandbox, message_id, action, kind, code):
    if action is not None:
        sandbox.admin.add_fault(action)

    with pytest.raises(errors.ChatError) as caught:
        gateway.mark_read(message_id, instance=sandbox.cloud_instance())

    assert (type(caught.value), caught.value.code) == (kind, code)


def test_a_groups_info_is_what_the_api_says_and_no_more(gateway, sandbox):
    sandbox.admin.put_group(GROUP.id, subject="Vendas", desc="d", participants=[{"wa_id": "5511988887777"}])

    info = gateway.fetch_group_info(GROUP, instance=sandbox.cloud_instance())

    assert (info.jid, info.subject, info.description, info.size) == (GROUP.id, "Vendas", "d", 1)
    assert info.participants == ({"wa_id": "5511988887777"},)
    assert (info.owner, info.picture_url) == (None, None)


@pytest.mark.parametrize(
    ("fixture", "kind", "code"),
    [
        (None, errors.NotFound, "group_missing"),
        ({"error": "item-not-found"}, errors.Permanent, "group_refused"),
        ({"error": "forbidden"}, errors.Permanent, "group_refused"),
        ({"error": "rate-overlimit"}, errors.Throttled, "rate_limited"),
    ],
)
def test_a_group_that_cannot_be_read(gateway, sandbox, fixture, kind, code):
    if fixture is not None:
        sandbox.admin.put_group(GROUP.id, **fixture)

    with pytest.raises(errors.ChatError) as caught:
        gateway.fetch_group_info(GROUP, instance=sandbox.cloud_instance())

    assert (type(caught.value), caught.value.code) == (kind, code)


def test_the_info_of_another_group_is_not_taken(gateway, sandbox):
    sandbox.admin.add_fault({"type": "status", "status": 200, "body": {"id": "other", "subject": "x"}})

    with pytest.raises(errors.Transient) as caught:
        gateway.fetch_group_info(GROUP, instance=sandbox.cloud_instance())

    assert caught.value.code == "unreadable_answer"


def test_the_doctor_hears_whether_the_default_token_is_taken(sandbox):
    settings = Settings(whatsapp_cloud_url=sandbox.url, whatsapp_cloud_token=Hidden(sandbox.apikey))
    gateway = make_gateway("whatsapp_cloud", settings)

    assert gateway.check() == "the Cloud API at 127.0.0.1 takes the default token"
    sandbox.admin.add_fault({"type": "status", "preset": "graph_190"})
    with pytest.raises(errors.AuthConfig):
        gateway.check()
    gateway.close()


def test_the_doctor_hears_of_the_numbers_quality(gateway, sandbox):
    line = gateway.check(sandbox.cloud_instance())

    assert line == "the number of instance 'cloud-1' is known to the Cloud API, quality green"
