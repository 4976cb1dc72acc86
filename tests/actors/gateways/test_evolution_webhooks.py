"""Webhooks of Evolution: what they say of messages and sessions, and that the key in them goes nowhere."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.gateways.evolution_webhooks import has_key, updates
from actors.updates import DeliveryStatus, InstanceUpdate, SentUpdate, SessionState, StatusUpdate

KEY = "evo-secret-key"
JID = "5511988887777@s.whatsapp.net"


def envelope(event, data, **fields):
    told = {
        "event": event,
        "instance": "line-1",
        "data": data,
        "sender": JID,
        "apikey": KEY,
        "date_time": "x",
        **fields,
    }
    return json.dumps(told).encode()


def sent(**fields):
    return {
        "key": {"remoteJid": JID, "fromMe": True, "id": "3EB0AA"},
        "pushName": "Ana",
        "status": "PENDING",
        "message": {"conversation": "oi"},
        "messageType": "conversation",
        "messageTimestamp": 1_761_050_000,
        "instanceId": "uuid",
        **fields,
    }


def update(**fields):
    told = {"keyId": "3EB0AA", "remoteJid": JID, "fromMe": True, "status": "SERVER_ACK", "messageId": "cm-db-id"}
    return {**told, **fields}


# -- the key ---------------------------------------------------------------------------------------------------------


def test_a_body_is_known_by_the_key_of_its_instance_or_of_its_server():
    raw = envelope("send.message", sent())

    assert has_key(raw, api_keys=["global", KEY])
    assert not has_key(raw, api_keys=["global"])
    assert not has_key(raw, api_keys=[])
    assert not has_key(raw, api_keys=[KEY[:-1], KEY + "x", KEY.upper(), ""])


@pytest.mark.parametrize("key", [None, "", 7, [KEY], {"x": KEY}, "\ud800"])
def test_a_body_without_a_usable_key_is_nobodys(key):
    assert not has_key(envelope("send.message", sent(), apikey=key), api_keys=[KEY, ""])


@pytest.mark.parametrize("raw", [b"", b"[]", b"\xff", b"[" * 100_000])
def test_what_is_no_body_is_nobodys(raw):
    assert not has_key(raw, api_keys=[KEY])


@pytest.mark.parametrize(
    ("event", "data"),
    [
        ("send.message", sent(apikey=KEY, server={"apikey": KEY})),
        ("messages.update", update(apikey=KEY)),
        ("connection.update", {"state": "open", "apikey": KEY}),
        ("status.instance", {"status": "closed", "apikey": KEY}),
    ],
)
def test_the_key_is_kept_in_no_update(event, data):
    found = updates(envelope(event, data))

    assert len(found) == 1
    assert KEY not in repr(found)
    assert KEY not in json.dumps(getattr(found[0], "record", {}))
    assert "988887777" not in repr(found)


# -- messages that went out ------------------------------------------------------------------------------------------


def test_a_message_that_went_out_is_what_the_lost_answer_would_have_said():
    [found] = updates(envelope("send.message", sent()))

    assert isinstance(found, SentUpdate)
    assert (found.instance_name, found.jid, found.provider_message_id) == ("line-1", JID, "3EB0AA")
    assert found.at_ms == 1_761_050_000_000


@pytest.mark.parametrize("event", ["send.message", "SEND_MESSAGE", "Send.Message"])
def test_events_are_known_in_both_spellings(event):
    assert len(updates(envelope(event, sent()))) == 1


def test_its_record_is_what_a_search_compares():
    [found] = updates(envelope("send.message", sent()))

    assert set(found.record) == {"key", "message", "messageType", "messageTimestamp"}


@pytest.mark.parametrize(
    "key",
    [
        {"remoteJid": JID, "fromMe": False, "id": "3EB0AA"},
        {"remoteJid": JID, "id": "3EB0AA"},
        {"remoteJid": JID, "fromMe": True, "id": ""},
        {"remoteJid": "", "fromMe": True, "id": "3EB0AA"},
        {"remoteJid": JID, "fromMe": True, "id": "\ud800"},
        None,
        [],
    ],
)
def test_what_is_not_ours_or_has_no_id_is_left_out(key):
    assert updates(envelope("send.message", sent(key=key))) == []


# -- statuses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ("SERVER_ACK", "sent"),
        ("DELIVERY_ACK", "delivered"),
        ("READ", "read"),
        ("PLAYED", "played"),
        ("ERROR", "failed"),
    ],
)
def test_a_status_is_matched_by_the_key_id(said, status):
    [found] = updates(envelope("messages.update", update(status=said)))

    assert found == StatusUpdate(
        # Not ``messageId``, which is the row in Evolution's database.
        provider_message_id="3EB0AA",
        status=DeliveryStatus(status),
        at_ms=0,
        instance_name="line-1",
        recipient=JID,
        error_code="not_delivered" if said == "ERROR" else None,
    )


@pytest.mark.parametrize(
    "told",
    [
        update(status="PENDING"),
        update(status="DELETED"),
        update(status=None),
        update(status=3),
        update(status=["READ"]),
        update(fromMe=False),
        update(keyId=None),
        {"messageId": "cm-db-id", "status": "READ", "fromMe": True},
    ],
)
def test_what_says_nothing_of_the_way_to_the_phone_is_left_out(told):
    assert updates(envelope("messages.update", told)) == []


def test_several_statuses_in_one_body_are_all_read():
    found = updates(envelope("messages.update", [update(), update(keyId="3EB0BB"), None, 7]))

    assert [one.provider_message_id for one in found] == ["3EB0AA", "3EB0BB"]


# -- sessions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "data", "state", "reason", "stays_down"),
    [
        ("connection.update", {"instance": "line-1", "state": "open", "statusReason": 200}, "open", 200, False),
        ("connection.update", {"instance": "line-1", "state": "connecting"}, "connecting", None, False),
        ("connection.update", {"instance": "line-1", "state": "close", "statusReason": 428}, "close", 428, False),
        ("connection.update", {"instance": "line-1", "state": "close", "statusReason": 401}, "close", 401, True),
        ("status.instance", {"status": "closed", "disconnectionReasonCode": 401}, "closed", 401, True),
        ("status.instance", {"status": "closed", "disconnectionReasonCode": "x"}, "closed", None, True),
    ],
)
def test_a_session_changes_its_state(event, data, state, reason, stays_down):
    [found] = updates(envelope(event, data))

    assert found == InstanceUpdate(instance_name="line-1", state=SessionState(state), reason_code=reason)
    assert found.needs_a_person is stays_down


@pytest.mark.parametrize(
    ("event", "data"),
    [
        ("connection.update", {"state": "refused"}),
        ("connection.update", {"state": "closed"}),
        ("connection.update", {"state": None}),
        ("connection.update", {"state": ["open"]}),
        ("status.instance", {"status": "removed"}),
        ("messages.upsert", sent()),
        ("send.message.update", sent()),
        ("qrcode.updated", {"qrcode": "x"}),
    ],
)
def test_other_events_and_states_give_nothing(event, data):
    assert updates(envelope(event, data)) == []


@pytest.mark.parametrize("instance", [None, "", 7, "x" * 256, {"instanceName": "line-1"}])
def test_a_body_without_the_name_of_its_instance_gives_nothing(instance):
    assert updates(envelope("send.message", sent(), instance=instance)) == []


WORDS = ["event", "instance", "data", "key", "id", "remoteJid", "fromMe", "keyId", "status", "state", "message"]
VALUES = ["send.message", "messages.update", "connection.update", "READ", "ERROR", "open", "closed", JID]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(VALUES),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.sampled_from(WORDS), inner, max_size=5),
    max_leaves=15,
)
events = st.sampled_from(["send.message", "messages.update", "connection.update", "status.instance"])


@given(raw=st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_no_body_makes_it_fail(raw):
    assert isinstance(updates(raw), list)
    assert has_key(raw, api_keys=[KEY]) in (True, False)


@given(event=events, data=json_values, message=json_values)
def test_no_data_makes_it_fail(event, data, message):
    assert isinstance(updates(envelope(event, data)), list)
    assert isinstance(updates(envelope("send.message", sent(message=message, messageTimestamp=data))), list)
