"""One table of backends: every name in it loads, and no fault of a name goes unsaid."""

import pytest

from actors import backends
from actors.errors import SettingsError


@pytest.mark.parametrize("kind", backends.BUILT_IN)
def test_every_backend_of_the_table_is_there(kind):
    assert [name for name in backends.BUILT_IN[kind] if not callable(backends.load(kind, name))] == []
    assert backends.names(kind) == sorted(backends.BUILT_IN[kind])


@pytest.mark.parametrize("kind", backends.BUILT_IN)
def test_an_unknown_name_lists_the_known_ones(kind):
    with pytest.raises(SettingsError, match=f"unknown {kind} backend 'telex'; known: ") as caught:
        backends.load(kind, "telex")

    assert all(name in str(caught.value) for name in backends.BUILT_IN[kind])
