"""A form with one file as the pieces of a request body. Pure.

The Cloud API's upload uses it. Pieces rather than one body: a file of 100 MB is not copied, and each write is bounded in time.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

#: Size of a piece of the file, in bytes.
PIECE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class FilePart:
    """The file of a form."""

    name: str
    content: bytes = field(repr=False)
    file_name: str = field(repr=False)
    mimetype: str


@dataclass(frozen=True, slots=True)
class Form:
    """Fields and one file, ready to be written; it may be iterated again."""

    fields: Mapping[str, str]
    file: FilePart

    @property
    def content_type(self) -> str:
        """Value of the header of that name."""
        return f"multipart/form-data; boundary={self._boundary}"

    def __len__(self) -> int:
        """Bytes in all."""
        return len(self._head) + len(self.file.content) + len(self._tail)

    def __iter__(self) -> Iterator[bytes]:
        """The body, piece by piece."""
        yield self._head
        view = memoryview(self.file.content)
        for start in range(0, len(view), PIECE_BYTES):
            yield bytes(view[start : start + PIECE_BYTES])
        yield self._tail

    @property
    def _boundary(self) -> str:
        # From the content: a file that holds its own hash cannot be made.
        return "chat" + hashlib.sha256(self.file.content).hexdigest()[:48]

    @property
    def _head(self) -> bytes:
        lines = [
            part
            for name, value in self.fields.items()
            for part in (f"--{self._boundary}", f'Content-Disposition: form-data; name="{name}"', "", value)
        ]
        named = f'form-data; name="{self.file.name}"; filename="{_quoted(self.file.file_name)}"'
        lines += [
            f"--{self._boundary}",
            f"Content-Disposition: {named}",
            f"Content-Type: {_token(self.file.mimetype)}",
            "",
            "",
        ]
        return "\r\n".join(lines).encode("utf-8", "replace")

    @property
    def _tail(self) -> bytes:
        return f"\r\n--{self._boundary}--\r\n".encode("ascii")


def _quoted(name: str) -> str:
    """``name`` so that it can neither end its quotes nor its line, as browsers write it."""
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def _token(mimetype: str) -> str:
    return mimetype if re.fullmatch(r"[\w.+-]+/[\w.+-]+", mimetype, re.ASCII) else "application/octet-stream"
