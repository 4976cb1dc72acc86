"""A file's extension tells the truth, because a gateway believes it."""

import pytest

from actors.stores.file_names import EXTENSIONS, file_name


@pytest.mark.parametrize(
    ("original", "mimetype", "expected"),
    [
        ("plan.pdf", "application/pdf", "plan.pdf"),
        ("photo.JPEG", "image/jpeg", "photo.JPEG"),
        ("file", "application/pdf", "file.pdf"),
        ("", "image/png", "file.png"),
        ("report.v2", "application/pdf", "report.v2.pdf"),
        ("clip.jpg", "video/mp4", "clip.jpg.mp4"),
        ("voice", "audio/ogg; codecs=opus", "voice.ogg"),
        ("folder/../plan.pdf", "application/pdf", "plan.pdf"),
        ("C:\\Users\\ana\\plan.pdf", "application/pdf", "plan.pdf"),
        ("data", "application/octet-stream", "data.bin"),
        ("data.xyz", "application/octet-stream", "data.xyz"),
        ("drawing.dwg", "application/x-never-heard-of", "drawing.dwg"),
        ("drawing", "application/x-never-heard-of", "drawing.bin"),
        ("resumo 2025", "", "resumo 2025.bin"),
    ],
)
def test_a_name_gets_an_extension_that_fits(original, mimetype, expected):
    assert file_name(original, mimetype=mimetype) == expected


def test_a_table_that_a_browser_calls_a_spreadsheet_stays_a_table():
    assert file_name("clients.csv", mimetype="application/vnd.ms-excel") == "clients.csv"


@pytest.mark.parametrize("mimetype", EXTENSIONS)
def test_a_nameless_file_of_every_usual_type_is_what_it_is(mimetype):
    named = file_name("", mimetype=mimetype)

    assert named == f"file{EXTENSIONS[mimetype]}"
    assert file_name(named, mimetype=mimetype) == named
