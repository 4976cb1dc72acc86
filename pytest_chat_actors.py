"""pytest plugin of chat-actors: the fixtures ``chat_sends`` and ``chat_sandbox`` (docs/testing.md).

A module of its own, beside the packages: pytest loads it in every run of an environment that has chat-actors installed, and
importing anything below ``actors`` builds a broker and reads Django's settings. So nothing is imported before a fixture is used.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from actors.testing import Sandbox, Sends

#: ini option: open ``chat_sends`` in every test.
ALWAYS = "chat_actors_capture"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the ini option."""
    parser.addini(ALWAYS, "open chat_sends in every test, so that no send reaches Redis", type="bool", default=False)


def pytest_configure(config: pytest.Config) -> None:
    """Follow the ini option."""
    if config.getini(ALWAYS):
        config.pluginmanager.register(_Always(), "pytest_chat_actors_always")


@pytest.fixture
def chat_sends() -> "Iterator[Sends]":
    """Takes every send of the test; ``.sent``, ``.ids(actor)``, ``.run()``, ``.dead``, ``.sandbox``."""
    from actors.testing import Sends

    with Sends() as sends:
        yield sends


@pytest.fixture
def chat_sandbox(chat_sends: "Sends") -> "Sandbox":
    """The gateway that the sends of this test go to; ``.deliveries()``, ``.texts()``, ``.connect(name)``, ``.admin``."""
    return chat_sends.sandbox


class _Always:
    """Registered only where the ini option asks for it: an unused autouse fixture would be in every test of the machine."""

    @pytest.fixture(autouse=True)
    def _chat_actors_always(self, chat_sends: "Sends") -> None:
        """Have it open."""
