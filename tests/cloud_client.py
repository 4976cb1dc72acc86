"""A client of the sandbox as the Cloud API, as bare as HTTP allows.

Tests say ``from cloud_client import ask, send`` and take the fixtures of those names.
"""

import httpx
import pytest
from sandbox_fixture import NUMBER_ID

TEXT = {"messaging_product": "whatsapp", "to": "+5511988887777", "type": "text", "text": {"body": "oi"}}


@pytest.fixture
def ask(sandbox):
    """``ask(method, path, **what)`` → status, decoded body."""
    with httpx.Client(base_url=sandbox.url, trust_env=False) as web:

        def ask(method, path, *, token=sandbox.apikey, headers=None, **what):
            sent = {**({} if token is None else {"Authorization": f"Bearer {token}"}), **(headers or {})}
            answer = web.request(method, path, headers=sent, **what)
            return answer.status_code, answer.json()

        yield ask


@pytest.fixture
def send(ask):
    def send(body=None, **changes):
        return ask("POST", f"/v24.0/{NUMBER_ID}/messages", json={**TEXT, **changes} if body is None else body)

    return send
