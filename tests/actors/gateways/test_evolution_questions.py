"""Evolution asked, against a live sandbox: what was sent, pictures and groups, its version and its sessions."""

import json

import pytest
from evolution_sends import DIGITS, GROUP, PERSON, gateway, part
from sandbox_fixture import Sandbox, sandbox

from actors import errors
from actors.gateways.base import make_gateway
from actors.gateways.evolution_search import MAX_PAGES, PAGE_SIZE
from actors.gateways.sandbox.saved import StoredMessage
from middleware.clock import SystemClock

__all__ = ["gateway", "sandbox"]

pytestmark = pytest.mark.contract


def search(gateway, sandbox: Sandbox, wanted=None, *, since_ms=None, until_ms=None, bound_ids=()):
    now_ms = SystemClock().now_ms()
    return gateway.find_sent(
        wanted or part(),
        instance=sandbox.instance(),
        since_ms=now_ms if since_ms is None else since_ms,
        until_ms=now_ms if until_ms is None else until_ms,
        bound_ids=bound_ids,
    )


def test_a_message_outside_the_window_is_another_one(gateway, sandbox):
    gateway.send(part(), instance=sandbox.instance(), timeout_s=5)
    now_ms = SystemClock().now_ms()

    assert search(gateway, sandbox) is not None
    assert search(gateway, sandbox, since_ms=now_ms + 20_000, until_ms=now_ms + 30_000) is None
    assert search(gateway, sandbox, since_ms=now_ms - 30_000, until_ms=now_ms - 20_000) is None


@pytest.mark.parametrize("hours", [-3, 3])
def test_a_server_whose_clock_is_wrong_is_searched_by_its_own_clock(gateway, sandbox, hours):
    sandbox.admin.advance(hours * 3_600)
    since_ms = SystemClock().now_ms()
    receipt = gateway.send(part(), instance=sandbox.instance(), timeout_s=5)

    assert search(gateway, sandbox, since_ms=since_ms) == receipt


def test_a_message_saved_late_is_not_found_yet(gateway, sandbox):
    sandbox.admin.add_fault({"type": "persist_lag", "ms": 20_000})
    since_ms = SystemClock().now_ms()
    gateway.send(part(), instance=sandbox.instance(), timeout_s=5)

    assert search(gateway, sandbox, since_ms=since_ms) is None
    sandbox.admin.advance(20)
    # The look comes 20 s later, too.
    assert search(gateway, sandbox, since_ms=since_ms, until_ms=since_ms + 20_000) is not None


def test_every_page_is_searched(gateway, sandbox):
    since_ms = SystemClock().now_ms()
    first = gateway.send(part("procurada"), instance=sandbox.instance(), timeout_s=5)
    for n in range(PAGE_SIZE + 5):
        gateway.send(part(f"outra {n}"), instance=sandbox.instance(), timeout_s=5)

    assert search(gateway, sandbox, part("procurada"), since_ms=since_ms) == first


def test_a_search_that_is_too_long_is_not_an_empty_one(gateway, sandbox):
    gateway.send(part("outra"), instance=sandbox.instance(), timeout_s=5)
    state = sandbox.server.state
    record = state.saved.newest_first("i1")[0].record
    with state.lock:
        for _ in range(PAGE_SIZE * MAX_PAGES):
            state.saved.add(StoredMessage("i1", record, 0))

    with pytest.raises(errors.Transient) as caught:
        search(gateway, sandbox)

    assert caught.value.code == "too_many_sent"


@pytest.mark.parametrize("body", [{}, [], "null", {"messages": {"records": None}}])
def test_an_answer_that_is_no_list_is_not_an_empty_one(gateway, sandbox, body):
    body = {"status": 200, "body": body} if body != "null" else {"status": 200, "body": "null"}
    sandbox.admin.add_fault({"type": "status", **body}, match={"op": "findMessages"})

    with pytest.raises(errors.Transient) as caught:
        search(gateway, sandbox)

    assert caught.value.code == "unreadable_answer"


def test_a_picture_is_asked_for_with_post(gateway, sandbox):
    sandbox.admin.put_contact(DIGITS, picture_url="https://pps.whatsapp.net/a.jpg")

    assert gateway.fetch_profile_picture(PERSON, instance=sandbox.instance()) == "https://pps.whatsapp.net/a.jpg"
    assert sandbox.requests()[0]["method"] == "POST"


def test_no_picture_and_a_closed_session_both_say_nothing(gateway, sandbox):
    assert gateway.fetch_profile_picture(PERSON, instance=sandbox.instance()) is None
    sandbox.admin.put_contact(DIGITS, picture_url="https://pps.whatsapp.net/a.jpg")
    sandbox.admin.add_fault({"type": "disconnect", "instance": "i1"})

    assert gateway.fetch_profile_picture(PERSON, instance=sandbox.instance()) is None


@pytest.mark.parametrize(
    "body",
    [
        {"wuid": "5511900000000@s.whatsapp.net", "profilePictureUrl": "https://pps.whatsapp.net/other.jpg"},
        {"wuid": f"{DIGITS}@s.whatsapp.net", "profilePictureUrl": "file:///etc/passwd"},
        {"wuid": f"{DIGITS}@s.whatsapp.net", "profilePictureUrl": 7},
        {"wuid": f"{DIGITS}@s.whatsapp.net"},
    ],
)
def test_a_picture_of_somebody_else_or_of_no_use_is_none(gateway, sandbox, body):
    sandbox.admin.add_fault({"type": "status", "status": 200, "body": body})

    assert gateway.fetch_profile_picture(PERSON, instance=sandbox.instance()) is None


def test_a_question_that_gets_no_answer_may_be_asked_again(gateway, sandbox):
    sandbox.admin.add_fault({"type": "drop"})

    with pytest.raises(errors.Transient) as caught:
        gateway.fetch_profile_picture(PERSON, instance=sandbox.instance())

    assert caught.value.code == "connection_lost"


def test_a_group_is_told_as_far_as_it_is_known(gateway, sandbox):
    members = [{"id": "1@lid", "phoneNumber": "5511999990001@s.whatsapp.net", "admin": None}]
    sandbox.admin.put_group(GROUP.jid, subject="Equipe", owner="1@lid", participants=members)

    info = gateway.fetch_group_info(GROUP, instance=sandbox.instance())

    assert (info.jid, info.subject, info.owner, info.size) == (GROUP.jid, "Equipe", "1@lid", 1)
    assert info.participants == tuple(members)
    # Not said is not the same as empty.
    assert (info.description, info.picture_url) == (None, None)


@pytest.mark.parametrize("body", ["null", json.dumps({"id": "1@g.us", "subject": "Outra"}), "[]"])
def test_no_group_or_another_one_is_never_taken_for_it(gateway, sandbox, body):
    sandbox.admin.add_fault({"type": "status", "status": 200, "body": body})

    with pytest.raises(errors.Transient):
        gateway.fetch_group_info(GROUP, instance=sandbox.instance())


def test_the_version_is_told(gateway, sandbox):
    instance = sandbox.instance()
    with_default = make_gateway("sandbox", sandbox.settings())

    assert with_default.check() == "Evolution 2.3.6 answers at 127.0.0.1"
    assert gateway.check(instance) == "the session of instance 'i1' is open"
    with_default.close()


@pytest.mark.parametrize(
    ("version", "said"), [("2.4.0", "tested with 2.3"), ("1.8.2", "2.x is needed"), (None, "not as Evolution")]
)
def test_another_version_is_told_or_refused(sandbox, version, said):
    sandbox.admin.add_fault({"type": "status", "status": 200, "body": {"version": version}})
    gateway = make_gateway("sandbox", sandbox.settings())

    try:
        line = gateway.check()
    except errors.AuthConfig as error:
        line = str(error)

    assert said in line
    gateway.close()


def test_without_a_default_server_there_is_nothing_to_check(gateway):
    with pytest.raises(errors.NoCredentials):
        gateway.check()


@pytest.mark.parametrize("state", ["close", "connecting"])
def test_a_session_that_is_not_open_is_told(gateway, sandbox, state):
    sandbox.admin.put_instance("i1", state=state)

    with pytest.raises(errors.InstanceUnavailable, match=state):
        gateway.check(sandbox.instance())
