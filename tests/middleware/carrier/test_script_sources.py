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
PARTS = sorted(
    path.read_text(encoding="utf-8")
    for path in (files("middleware.brokers.redis") / "lua" / "parts").iterdir()
    if path.name.endswith(".lua")
)
#: One calls the next, `leave` is named before it is made, and nobody calls the last one but itself.
CHAIN = """-- Gives  first
local LIMIT = 3
local leave
local function second()
  leave(LIMIT)
end
-- Not a call of unused().
local function first()
  second()
end
leave = function(limit)
end
local function unused()
  unused()
end
"""


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


def test_of_its_parts_a_script_gets_what_it_calls_and_what_that_calls_in_their_order():
    made = sources.kept([CHAIN], "first()")

    assert [text.split("(")[0].split(" =")[0].strip() for text in made] == [
        "local LIMIT",
        "local leave",
        "local function second",
        "local function first",
        "leave",
    ]
    assert "unused" not in "".join(made)
    assert sources.kept([CHAIN], "-- only said: first()\n") == []


def test_nothing_of_a_part_stands_outside_of_its_functions_and_values():
    assert PARTS != []
    for part in PARTS:
        bare = "".join(line for line in part.splitlines(keepends=True) if not line.lstrip().startswith("--"))
        assert "".join(statement.text for statement in sources.statements_of(part)).split() == bare.split()


def test_a_script_is_sent_the_keys_that_its_text_uses():
    for name in NAMES:
        made = sources.source(name)
        _, _, rest = made.text.partition("unpack(KEYS")
        assert [key for key in made.keys if key not in rest] == []


def test_a_key_that_there_is_not_is_refused_before_any_call():
    with pytest.raises(LookupError, match="redy"):
        sources._keys("local redy", {"ready", "redy"})


def test_a_part_that_there_is_not_is_refused_before_any_call():
    with pytest.raises(LookupError, match="lane"):
        sources._named("-- Parts   base lane\n", "Parts", {"base": "", "lanes": ""})
