"""What a row shows of a failure: short, and without numbers."""

import pytest

from actors.stores.writes import error_text


@pytest.mark.parametrize(
    "number", ["+5511988887777", "5511988887777", "+55 (11) 98888-7777", "5511988887777@s.whatsapp.net"]
)
def test_no_number_is_shown(number):
    shown = error_text("unauthorized", f"instance {number!r}: Evolution refuses the key; ask {number}")

    assert "98888" not in shown
    assert shown.startswith("unauthorized: instance ")
    assert "Evolution refuses the key" in shown


def test_ids_and_statuses_are_shown():
    text = "message 0b1c2d3e-1111-2222-3333-444455556666: refused (status 404 to sendText, rule 11)"

    assert error_text("wrong_url", text) == f"wrong_url: {text}"


def test_it_has_at_most_2_kb():
    assert len(error_text("x", "é👩" * 5_000).encode()) <= 2_048
