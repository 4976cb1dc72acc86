"""Endpoints of the sandbox that deliver nothing: version, state, picture, group, sent messages, receipts, edits.

``evolution`` lists :data:`OPERATIONS`. A closed session answers each in its own way, docs/gateways.md section 6.2.
"""

from typing import Any

from actors.gateways.jids import create_jid
from actors.gateways.sandbox import validators
from actors.gateways.sandbox.calls import Call
from actors.gateways.sandbox.fixtures import InstanceFixture
from actors.gateways.sandbox.operations import Operation, of_body
from actors.gateways.sandbox.replies import CLOSED, Reply, as_json, envelope
from actors.gateways.sandbox.state import State, instance_id


def _version(_: State, call: Call) -> Reply:
    return as_json(
        200,
        {
            "status": 200,
            "message": "Welcome to the Evolution API, it is working!",
            "version": "2.3.6",
            "clientName": "sandbox",
            "manager": f"http://{call.headers.get('host', '')}/manager",
            "documentation": "https://doc.evolution-api.com",
            "whatsappWebVersion": "2.3000.0",
        },
    )


def _connection_state(state: State, call: Call) -> Reply:
    told = state.sessions.told_state(call.instance)
    shown = {"instanceName": call.instance} | ({} if told is None else {"state": told})
    return as_json(200, {"instance": shown})


def _fetch_instances(state: State, call: Call) -> Reply:
    """With the key of an instance only its own are shown."""
    key, name = call.headers.get("apikey", ""), call.query.get("instanceName")
    with state.lock:
        found = {n: one for n, one in state.instances.items() if name in (None, "", n)}
        own = {n: one for n, one in found.items() if one.token == key}
    missing = name and name not in found
    if missing:
        return envelope(404, [f'Instance "{name}" not found'])
    return as_json(200, [_row(state, n, one, call) for n, one in sorted((own or found).items())])


def _row(state: State, name: str, fixture: InstanceFixture, call: Call) -> dict[str, Any]:
    sent = sum(one["instance"] == name for one in state.deliveries)
    return {
        "id": instance_id(name),
        "name": name,
        "connectionStatus": state.sessions.told_state(name) or fixture.state,
        "ownerJid": fixture.owner_jid,
        "profileName": None,
        "profilePicUrl": None,
        "integration": fixture.integration,
        "number": None,
        "businessId": None,
        "token": fixture.token,
        "clientName": "sandbox",
        "disconnectionReasonCode": None,
        "disconnectionObject": None,
        "disconnectionAt": None,
        "_count": {"Message": sent, "Contact": 0, "Chat": 0},
    }


def _picture(state: State, call: Call) -> Reply:
    number = call.fields.get("number")
    if not isinstance(number, str):
        return envelope(500, "Cannot read properties of undefined (reading 'replace')")
    jid = create_jid(number)
    known = state.groups.get(jid) if jid.endswith("@g.us") else state.contacts.get(jid)
    # Every failure is null, a closed session too.
    url = known.picture_url if known is not None and state.is_open(call.instance) else None
    return as_json(200, {"wuid": jid, "profilePictureUrl": url})


def _group(state: State, call: Call) -> Reply:
    jid = call.query["groupJid"]
    group = state.groups.get(jid)
    if not state.is_open(call.instance):
        return envelope(404, ["Error fetching group", f"Error: {CLOSED}"])
    if group is None or group.error is not None:
        cause = "item-not-found" if group is None else str(group.error)
        return envelope(404, ["Error fetching group", f"Error: {cause}"])
    creation = 1_600_000_000
    subject = {"subjectOwner": group.owner, "subjectTime": creation} if group.owner else {}
    desc = {"desc": group.desc, "descId": instance_id(jid)[:22].upper()} if group.desc is not None else {}
    body: dict[str, Any] = {
        "id": jid,
        "subject": group.subject,
        **subject,
        "pictureUrl": group.picture_url,
        "size": len(group.participants),
        "creation": creation,
        **({"owner": group.owner} if group.owner else {}),
        **desc,
        "restrict": False,
        "announce": False,
        "participants": group.participants,
        "isCommunity": False,
        "isCommunityAnnounce": False,
    }
    return as_json(200, body)


def _numbers(state: State, call: Call) -> Reply:
    numbers = [str(one) for one in call.fields.get("numbers", [])]
    asked = [one for one in numbers if _needs_session(state, create_jid(one))]
    if asked and not state.is_open(call.instance):
        payload = {"statusCode": 428, "error": "Precondition Required", "message": CLOSED}
        output = {"statusCode": 428, "payload": payload, "headers": {}}
        return as_json(400, {"data": None, "isBoom": True, "isServer": False, "output": output})
    return as_json(200, [_number(state, call.instance, one) for one in numbers])


def _needs_session(state: State, jid: str) -> bool:
    return jid.endswith("@s.whatsapp.net") and jid not in state.known_jids


def _number(state: State, instance: str, number: str) -> dict[str, Any]:
    jid = create_jid(number)
    if jid.endswith("@g.us"):
        group = state.groups.get(jid) if state.is_open(instance) else None
        exists = group is not None and group.error is None
        return {"jid": jid, "exists": exists, "number": number} | ({"name": group.subject} if exists and group else {})
    contact = state.contacts.get(jid)
    lid = "lid" if jid.endswith("@lid") else contact.lid if contact is not None else None
    found = {"jid": jid, "exists": contact is None or contact.exists, "number": number}
    return found | ({"lid": lid} if lid else {})


def _check_group(call: Call) -> None:
    in_body = {"groupJid": call.fields["groupJid"]} if isinstance(call.fields.get("groupJid"), str) else {}
    call.query["groupJid"] = validators.check_group({**call.query, **{k: v for k, v in in_body.items() if v}})


OPERATIONS = (
    Operation("connectionState", "GET", "instance", _connection_state),
    Operation("findGroupInfos", "GET", "group", _group, check=_check_group, unloaded="findGroup"),
    Operation(
        "fetchProfilePictureUrl",
        "POST",
        "chat",
        _picture,
        check=of_body(validators.check_picture),
        unloaded="profilePicture",
    ),
    Operation(
        "whatsappNumbers", "POST", "chat", _numbers, check=of_body(validators.check_numbers), unloaded="whatsappNumber"
    ),
)
#: Routes without an instance in their path.
WITHOUT_INSTANCE = {"version": _version, "fetchInstances": _fetch_instances}
