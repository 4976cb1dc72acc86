"""Copies of a queue as one who restores has them, and what stands in a backup of a message.

Tests import the fixture ``copies`` and name it in ``__all__``.
"""

import pytest

from middleware.brokers.redis.copies import Copies
from middleware.brokers.redis.values import Routing

TOKEN = "me"


@pytest.fixture
def copies(moves):
    copies = Copies(moves.scripts)
    copies.begin(TOKEN)
    return copies


def facts(**names: str) -> bytes:
    return Routing(**names).text().encode()
