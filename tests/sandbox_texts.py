"""A client of the sandbox that speaks as Evolution's do, and what becomes of a text that it sends.

Tests import the fixture ``web`` and name it in ``__all__``.
"""

import httpx
import pytest
from sandbox_fixture import Sandbox

DIGITS = "5511988887777"


@pytest.fixture
def web(sandbox: Sandbox):
    with httpx.Client(base_url=sandbox.url, headers={"apikey": sandbox.apikey}, timeout=5, trust_env=False) as client:
        yield client


def send(web, text="oi", *, ref=None, instance="i1", number=DIGITS, **more):
    headers = {} if ref is None else {"X-Client-Ref": ref}
    return web.post(f"/message/sendText/{instance}", json={"number": number, "text": text}, headers={**headers, **more})


def outcome(web, **fields):
    try:
        return send(web, **fields).status_code
    except httpx.TransportError as error:
        return type(error).__name__
