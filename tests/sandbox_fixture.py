"""A sandbox gateway of the test's own.

Tests say ``from sandbox_fixture import sandbox`` and take the fixture of that name.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from actors.domain import Instance
from actors.gateways.sandbox.admin_client import SandboxAdmin
from actors.gateways.sandbox.server import SandboxServer
from actors.settings import Settings


@dataclass(frozen=True)
class Sandbox:
    """A listening sandbox with one open instance ``i1``."""

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

    def instance(self, name: str = "i1") -> Instance:
        """A row that names this sandbox as its Evolution."""
        return Instance(name=name, base_url=self.url, api_key=self.apikey)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with SandboxServer(seed=7) as server, SandboxAdmin(server.url, server.admin_token) as admin:
        admin.put_instance("i1")
        yield Sandbox(server, admin)
