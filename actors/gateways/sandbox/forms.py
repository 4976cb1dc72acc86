"""Bodies that are forms: ``application/x-www-form-urlencoded`` and ``multipart/form-data``, as Express and multer read them. Pure.

``evolution`` reads sends with them; another provider's uploads come the same way.
"""

from dataclasses import dataclass, field
from email.message import Message
from email.parser import BytesHeaderParser
from typing import Any
from urllib.parse import parse_qsl

MULTIPART = "multipart/form-data"
URLENCODED = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Upload:
    """A file of a form."""

    name: str
    mimetype: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Form:
    """Fields (all strings) and files by the name of their part."""

    fields: dict[str, Any] = field(default_factory=dict, repr=False)
    files: dict[str, Upload] = field(default_factory=dict)


class BadForm(ValueError):
    """A body that is no form; the text is the provider's."""


def parse_urlencoded(raw: bytes) -> dict[str, Any]:
    """Fields of a plain form; of a repeated name the last."""
    return dict(parse_qsl(raw.decode("utf-8", "replace"), keep_blank_values=True))


def parse_multipart(content_type: str, raw: bytes) -> Form:
    """Fields and files; bytes of a file are kept as they are.

    Raises:
        BadForm: there is no boundary, or the last part does not end.
    """
    header = Message()
    header["content-type"] = content_type
    boundary = header.get_param("boundary")
    if not isinstance(boundary, str):
        raise BadForm("Multipart: Boundary not found")
    mark = b"\r\n--" + boundary.encode("latin-1", "replace")
    pieces = (b"\r\n" + raw).split(mark)
    if len(pieces) < 2 or not pieces[-1].startswith(b"--"):
        raise BadForm("Unexpected end of form")
    form = Form()
    for piece in pieces[1:-1]:
        head, _, content = piece.partition(b"\r\n\r\n")
        _add(form, BytesHeaderParser().parsebytes(head.lstrip(b"\r\n") + b"\r\n\r\n"), content)
    return form


def _add(form: Form, head: Message, content: bytes) -> None:
    name = head.get_param("name", header="content-disposition")
    file_name = head.get_filename()
    if not isinstance(name, str):
        return
    if file_name is None:
        form.fields[name] = content.decode("utf-8", "replace")
    else:
        form.files[name] = Upload(file_name, head.get_content_type(), content)
