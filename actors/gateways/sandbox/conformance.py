"""Whether a server answers as Evolution 2.3.6 does: the cases of ``evolution-2.3.6.json``, asked one by one.

The suite and ``chat-actors sandbox check`` run it against the sandbox; a person may run it against an Evolution of theirs. There
only those cases are asked that need no fixture, and no message is sent unless that was asked for.

A case is a request and its answer as data. In an answer ``{"$re": …}`` is any text that matches whole, ``{"$type": …}`` any value
of a JSON type. ``{instance}``, ``{apikey}``, ``{number}``, ``{jid}`` and ``{key_id}`` (of the message sent before) are filled in.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import httpx

from actors.errors import Transient
from actors.gateways.jids import create_jid
from actors.gateways.sandbox.admin_client import SandboxAdmin
from actors.gateways.sandbox.schemas import TYPES

#: Nobody's: what a lenient server would send to when nothing may be sent.
NOBODY = "0"
#: Of one difference this much is told.
_MAX_SHOWN = 300

Case = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Target:
    """A server to ask. ``admin`` is there when it is a sandbox: then every case can be asked."""

    url: str
    instance: str
    apikey: str = field(repr=False)
    number: str = field(default=NOBODY, repr=False)
    admin: SandboxAdmin | None = None

    @property
    def may_send(self) -> bool:
        """Whether cases that deliver a message are asked."""
        return self.number != NOBODY


@dataclass(frozen=True, slots=True)
class Finding:
    """One case and what was wrong with its answer; nothing wrong: it passed."""

    name: str
    source: str
    differences: tuple[str, ...]


def load() -> list[Case]:
    """All cases."""
    text = resources.files(__package__).joinpath("evolution-2.3.6.json").read_text("utf-8")
    cases: list[Case] = json.loads(text)["cases"]
    return cases


def fits(case: Case, target: Target) -> bool:
    """Whether the case can be asked there."""
    if target.admin is not None:
        return True
    return "given" not in case and "before" not in case and (target.may_send or not case.get("sends"))


def check(target: Target) -> Iterator[Finding]:
    """Ask every case that fits, one after the other.

    A sandbox loses its fixtures, faults and logs.

    Raises:
        Transient: the server does not answer.
    """
    with httpx.Client(base_url=target.url, timeout=30, trust_env=False, follow_redirects=False) as web:
        for case in load():
            if not fits(case, target):
                continue
            try:
                found = tuple(_differences_of(web, case, target))
            except httpx.TransportError as error:
                name = type(error).__name__
                raise Transient(f"no answer from the server: {name}; is it running, is the URL right?") from None
            yield Finding(case["name"], case["source"], found)


def _differences_of(web: httpx.Client, case: Case, target: Target) -> list[str]:
    words = {
        "instance": target.instance,
        "apikey": target.apikey,
        "number": target.number,
        "jid": create_jid(target.number),
        "key_id": "",
    }
    if target.admin is not None:
        target.admin.call("POST", "reset")
        target.admin.call("DELETE", "fixtures")
        target.admin.put_instance(target.instance)
    steps = [_give, _send_before]
    for step in reversed(steps) if case.get("first") == "before" else steps:
        step(web, case, target, words)
    answer = _ask(web, case, words)
    status = [] if answer.status_code == case["status"] else [f"status is {answer.status_code}, not {case['status']}"]
    try:
        body = answer.json()
    except ValueError:
        return [*status, f"body is no JSON: {answer.text[:_MAX_SHOWN]!r}"]
    return [*status, *differences(_filled(case["answer"], words), body)]


def _give(_: httpx.Client, case: Case, target: Target, words: dict[str, str]) -> None:
    for method, path, body in case.get("given", ()):
        if target.admin is not None:
            target.admin.call(method, _filled(path, words), _filled(body, words))


def _send_before(web: httpx.Client, case: Case, _: Target, words: dict[str, str]) -> None:
    for request in case.get("before", ()):
        words["key_id"] = str(_ask(web, request, words).json()["key"]["id"])


def _ask(web: httpx.Client, case: Case, words: dict[str, str]) -> httpx.Response:
    headers = {"apikey": words["apikey"], **_filled(case.get("headers", {}), words)}
    more: dict[str, Any] = {}
    if "json" in case:
        headers["Content-Type"] = "application/json"
        more["content"] = json.dumps(_filled(case["json"], words)).encode()
    elif "body" in case:
        headers["Content-Type"] = case["type"]
        more["content"] = _filled(case["body"], words).encode()
    elif "form" in case:
        # A field is a part without a file name: so the form is one of parts even when it has no file.
        fields = {name: (None, value) for name, value in _filled(case["form"], words).items()}
        more["files"] = fields | {part: (name, b"ABC", "image/png") for part, name in case["files"].items()}
    sent = {name: value for name, value in headers.items() if value is not None}
    return web.request(case["method"], _filled(case["path"], words), headers=sent, **more)


def _filled(value: Any, words: Mapping[str, str]) -> Any:
    """``value`` with every ``{name}`` in its texts replaced."""
    if isinstance(value, str):
        return re.sub(r"\{(\w+)\}", lambda match: words.get(match[1], match[0]), value)
    if isinstance(value, list):
        return [_filled(one, words) for one in value]
    if isinstance(value, dict):
        return {name: _filled(one, words) for name, one in value.items()}
    return value


def differences(wanted: Any, found: Any, *, at: str = "body") -> list[str]:
    """Where ``found`` is not as wanted, one text each; empty when it is."""
    if isinstance(wanted, dict) and set(wanted) == {"$re"}:
        fits_in = isinstance(found, str) and re.fullmatch(wanted["$re"], found) is not None
        return [] if fits_in else [f"{at} is {_short(found)}, which does not match {wanted['$re']}"]
    if isinstance(wanted, dict) and set(wanted) == {"$type"}:
        return [] if TYPES[wanted["$type"]](found) else [f"{at} is {_short(found)}, no {wanted['$type']}"]
    if isinstance(wanted, dict) and isinstance(found, dict):
        names = [*wanted, *(name for name in found if name not in wanted)]
        return [text for name in names for text in _of_name(wanted, found, name, at)]
    if isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        pairs = enumerate(zip(wanted, found, strict=True))
        return [text for index, (one, other) in pairs for text in differences(one, other, at=f"{at}[{index}]")]
    same = type(wanted) is type(found) and wanted == found
    return [] if same else [f"{at} is {_short(found)}, not {_short(wanted)}"]


def _of_name(wanted: dict[str, Any], found: dict[str, Any], name: str, at: str) -> list[str]:
    if name not in found:
        return [f"{at}.{name} is missing"]
    if name not in wanted:
        return [f"{at}.{name} is there and should not be"]
    return differences(wanted[name], found[name], at=f"{at}.{name}")


def _short(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)[:_MAX_SHOWN]
