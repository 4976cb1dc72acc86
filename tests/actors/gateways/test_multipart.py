"""A form is read by others as it was meant, whatever its names and its file hold."""

import email
from email.policy import HTTP

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.gateways.multipart import PIECE_BYTES, FilePart, Form
from actors.gateways.sandbox.forms import parse_multipart


def form(content=b"x", file_name="a.pdf", mimetype="application/pdf", **fields):
    return Form({"messaging_product": "whatsapp", **fields}, FilePart("file", content, file_name, mimetype))


def test_a_reader_of_its_own_kind_finds_fields_and_file():
    made = form(b"%PDF-1.7 \x00\xff", type="application/pdf")
    read = email.message_from_bytes(
        b"Content-Type: " + made.content_type.encode() + b"\r\n\r\n" + b"".join(made), policy=HTTP
    )

    parts = {part.get_param("name", header="content-disposition"): part for part in read.iter_parts()}

    assert parts["messaging_product"].get_payload(decode=True) == b"whatsapp"
    assert parts["file"].get_filename() == "a.pdf"
    assert parts["file"].get_content_type() == "application/pdf"
    assert parts["file"].get_payload(decode=True) == b"%PDF-1.7 \x00\xff"


@pytest.mark.parametrize(
    "name", ['a"; name="type', "a\r\nContent-Type: text/html\r\n\r\nx", "é 👩.pdf", "\ud800.pdf", ""]
)
def test_a_file_name_cannot_become_a_header(name):
    made = form(file_name=name, type="application/pdf")

    read = parse_multipart(made.content_type, b"".join(made))

    assert read.fields == {"messaging_product": "whatsapp", "type": "application/pdf"}
    assert set(read.files) == {"file"}
    assert read.files["file"].mimetype == "application/pdf"


def test_a_strange_type_cannot_become_a_header():
    made = form(mimetype="a/b\r\nX-Y: z")

    file = parse_multipart(made.content_type, b"".join(made)).files["file"]

    assert file.mimetype == "application/octet-stream"


@given(content=st.binary(max_size=2_000))
def test_any_file_arrives_to_the_byte_and_the_length_is_true(content):
    made = form(content)
    raw = b"".join(made)

    assert len(made) == len(raw)
    assert parse_multipart(made.content_type, raw).files["file"].content == content


def test_a_large_file_goes_in_pieces_and_twice_the_same():
    made = form(bytes(range(256)) * 1024)

    assert max(len(piece) for piece in made) == PIECE_BYTES
    assert b"".join(made) == b"".join(made)
