"""How the text of a script is put together: what a script asks for is there, and nothing else costs a call anything."""

from importlib.resources import files

import pytest

from middleware.brokers.redis import sources

NAMES = sorted(
    path.name.removesuffix(".lua")
    for path in (files("middleware.brokers.redis") / "lua").iterdir()
    if path.name.endswith(".lua")
)
PART = "-- Gives  admit hold\nlocal function hold()\nend\nlocal function admit()\nend\n"


@pytest.mark.parametrize("name", NAMES)
def test_every_script_is_made_of_parts_and_keys_that_there_are(name):
    made = sources.source(name)

    assert made.keys
    assert made.text.endswith((files("middleware.brokers.redis") / "lua" / f"{name}.lua").read_text(encoding="utf-8"))


def test_a_late_function_is_handed_over_when_the_script_names_it():
    made = sources._made_late([PART], "late().admit(id)")

    assert "return { admit = admit }" in made


def test_a_late_function_that_no_part_gives_is_refused_before_any_call():
    with pytest.raises(LookupError, match="admitt late"):
        sources._made_late([PART], "late().admit(id) late().admitt(id)")
