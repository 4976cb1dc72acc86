"""Evolution 2.3.6 as a dialect of the sandbox: routes, keys, validation, and who answers.

``server`` gives it to ``contract``, last of all dialects: what nobody else claims is its to refuse.
"""

import hmac
import re
from typing import Any

from actors.gateways.jids import create_jid
from actors.gateways.sandbox import extras, forms, history, lookups, sends, validators
from actors.gateways.sandbox.calls import MALFORMED, Call, json_body
from actors.gateways.sandbox.operations import Operation
from actors.gateways.sandbox.replies import (
    PRESETS,
    UNAUTHORIZED,
    UNLOADED_NUMBERS,
    Refused,
    Reply,
    Subject,
    envelope,
    no_instance,
    not_loaded,
)
from actors.gateways.sandbox.state import State

#: op → route. A file with more of them adds its list here.
OPERATIONS: dict[str, Operation] = {
    one.op: one for one in (*sends.OPERATIONS, *extras.OPERATIONS, *lookups.OPERATIONS, *history.OPERATIONS)
}
_ROUTES: dict[tuple[str, ...], Operation] = {
    (one.method, one.group.lower(), one.op.lower()): one for one in OPERATIONS.values()
}
_BARE_ROUTES: dict[tuple[str, ...], str] = {("",): "version", ("instance", "fetchinstances"): "fetchInstances"}
#: Routes that take a file, in a part of this name.
_UPLOADS, _FILE_PART = ("sendMedia", "sendWhatsAppAudio"), "file"
#: What cannot be the name of an instance: a percent sign that encodes nothing.
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


class Evolution:
    """One Evolution server with the instances of ``state``."""

    def __init__(self, state: State, *, api_key: str) -> None:
        self._state = state
        self._api_key = api_key

    def claims(self, _: Call) -> bool:
        """Everything."""
        return True

    def read(self, call: Call) -> None:
        """See :meth:`Dialect.read`."""
        # Express tells no case in its routes, and takes a slash at the end.
        *route, last = [one.lower() for one in call.segments] or [""]
        operation = _ROUTES.get((call.method, *route)) if len(route) == 2 else None
        if operation is not None:
            call.op, call.instance = operation.op, call.segments[2]
        elif call.method == "GET":
            call.op = _BARE_ROUTES.get((*route, last))
        _read_body(call)
        if operation is not None:
            call.is_send, call.unloaded = operation.is_send, operation.unloaded
        number = _text_of(call.fields.get("number", call.query.get("groupJid", "")))
        call.number, call.jid = number, create_jid(number)
        call.text = _text_of(call.fields.get("text", call.fields.get("caption", "")))

    def guard(self, call: Call) -> None:
        """See :meth:`Dialect.guard`; the order is Evolution's."""
        if call.body is MALFORMED:
            raise Refused(envelope(400, "Unexpected token in JSON at position 0", title="Internal Server Error"))
        if call.op is None:
            raise Refused(envelope(404, [f"Cannot {call.method} {call.target}"]))
        operation = OPERATIONS.get(call.op)
        if operation is not None:
            self._check_instance(call)
        if call.op != "version":
            self._check_key(call)
        if operation is None:
            return
        if call.problem:
            raise Refused(envelope(500, call.problem))
        # Evolution lets the query override the path after its guards; a client must never send one.
        call.instance = call.query.get("instanceName", call.instance)
        operation.check(call)
        fixture = self._state.instances.get(call.instance)
        if operation.unloaded and (fixture is None or not fixture.loaded):
            raise Refused(UNLOADED_NUMBERS if call.op == "whatsappNumbers" else not_loaded(operation.unloaded))

    def serve(self, call: Call) -> Reply:
        """See :meth:`Dialect.serve`."""
        op = call.op or ""
        if op in lookups.WITHOUT_INSTANCE:
            return lookups.WITHOUT_INSTANCE[op](self._state, call)
        return OPERATIONS[op].answer(self._state, call)

    def too_many(self, call: Call, *, wait_s: float) -> Reply:
        """Of a proxy before it: Evolution 2.3.6 has no limits of its own."""
        return PRESETS["429"](Subject(call.instance, retry_after=str(max(1, round(wait_s)))))

    def _check_instance(self, call: Call) -> None:
        path = call.target.partition("?")[0].rstrip("/")
        if _BAD_PERCENT.search(path):
            name = path.rpartition("/")[2]
            raise Refused(envelope(400, f"Failed to decode param '{name}'", title="Internal Server Error"))
        if call.instance not in self._state.instances:
            raise Refused(no_instance(call.instance))

    def _check_key(self, call: Call) -> None:
        given = call.headers.get("apikey", "").encode()
        if call.op == "fetchInstances":
            known = [self._api_key, *(one.token for one in self._state.instances.values())]
        else:
            known = [self._api_key, self._state.instances[call.instance].token]
        if not given or not any(hmac.compare_digest(given, key.encode()) for key in known if key):
            raise Refused(UNAUTHORIZED)


def _read_body(call: Call) -> None:
    kind = call.headers.get("content-type", "")
    if kind.startswith(forms.URLENCODED):
        call.body = forms.parse_urlencoded(call.raw)
    elif kind.startswith(forms.MULTIPART) and call.op in _UPLOADS:
        try:
            form = forms.parse_multipart(kind, call.raw)
        except forms.BadForm as error:
            call.problem = str(error)
            return
        if set(form.files) - {_FILE_PART}:
            call.problem = "Unexpected file field"
        call.body = form.fields | ({validators.FILE: form.files[_FILE_PART]} if _FILE_PART in form.files else {})
    else:
        call.body = json_body(call)


def _text_of(value: Any) -> str:
    return value if isinstance(value, str) else ""
