"""A sandbox gateway of the test's own.

Tests say ``from sandbox_fixture import sandbox`` and take the fixture of that name.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import servers

from actors.domain import Instance
from actors.gateways.sandbox.admin_client import SandboxAdmin
from actors.gateways.sandbox.server import SandboxServer
from actors.settings import Settings

#: Phone number id of the Cloud API's instance.
NUMBER_ID = "106540352242922"


@dataclass(frozen=True)
class Sandbox:
    """A listening sandbox with one open instance ``i1`` of Evolution and one number of the Cloud API."""

    server: SandboxServer
    admin: SandboxAdmin

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def apikey(self) -> str:
        return self.server.apikey

    def settings(self) -> Settings:
        """Settings whose gateway is this sandbox."""
        return Settings(gateway="sandbox", sandbox_url=self.url)

    def requests(self) -> list[dict[str, Any]]:
        """What was asked of it, but for its version, which a client asks before its first send."""
        return [one for one in self.admin.requests() if one["op"] != "version"]

    def instance(self, name: str = "i1") -> Instance:
        """A row that names this sandbox as its Evolution."""
        return Instance(name=name, base_url=self.url, api_key=self.apikey)

    def cloud_instance(self, name: str = "cloud-1", *, phone_number_id: str = NUMBER_ID) -> Instance:
        """A row that names this sandbox as its Cloud API."""
        return Instance(
            name=name,
            backend="whatsapp_cloud",
            base_url=self.url,
            api_key=self.apikey,
            phone_number_id=phone_number_id,
        )


@contextmanager
def running() -> Iterator[Sandbox]:
    with SandboxServer(seed=7) as server, SandboxAdmin(server.url, server.admin_token) as admin:
        yield Sandbox(server, admin)


def furnish(sandbox: Sandbox) -> Sandbox:
    sandbox.admin.put_instance("i1")
    sandbox.admin.put_instance(NUMBER_ID)
    return sandbox


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with running() as one:
        yield furnish(one)


@pytest.fixture(scope="module")
def lasting_sandbox() -> Iterator[Sandbox]:
    """One for a module of many short tests; :func:`emptied_sandbox` hands it out."""
    with running() as one:
        yield one


@pytest.fixture
def emptied_sandbox(lasting_sandbox: Sandbox) -> Sandbox:
    """As ``sandbox``, without the cost of a start; not for faults that end connections of others."""
    state = lasting_sandbox.server.state
    with state.lock:
        for known in (state.instances, state.contacts, state.groups):
            known.clear()
    lasting_sandbox.admin.reset()
    return furnish(lasting_sandbox)


@contextmanager
def far_sandbox() -> Iterator[tuple[str, SandboxAdmin]]:
    """One in a process of its own, with an instance ``i1``, for what is measured: its URL and its admin client."""
    command = [sys.executable, "-m", "actors.gateways.sandbox", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[1])
    try:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        with closing(process.stdout), SandboxAdmin(told["url"], told["admin_token"]) as admin:
            admin.put_instance("i1")
            yield told["url"], admin
    finally:
        servers.end(process)
