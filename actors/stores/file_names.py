"""Name a file so that its extension tells the truth.

Called where stores make ``Media``. Evolution derives the MIME type from the extension and overrides what it was told: a
file called ``file`` arrives as type ``false`` (docs/gateways.md).
"""

import mimetypes
from pathlib import PurePosixPath

from actors.domain import MediaKind

#: What chats carry. The tables of the interpreter and of the machine differ from place to place, so these come first.
EXTENSIONS = {
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/webp": ".webp",
    "image/gif": ".gif",
    "video/mp4": ".mp4",
    "video/3gpp": ".3gp",
    "video/quicktime": ".mov",
    "video/webm": ".webm",
    "audio/ogg": ".ogg",
    "audio/opus": ".opus",
    "audio/mpeg": ".mp3",
    "audio/mp4": ".m4a",
    "audio/aac": ".aac",
    "audio/amr": ".amr",
    "audio/wav": ".wav",
    "audio/webm": ".weba",
    "application/pdf": ".pdf",
    "application/zip": ".zip",
    "application/msword": ".doc",
    "application/vnd.ms-excel": ".xls",
    "application/vnd.ms-powerpoint": ".ppt",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": ".docx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": ".xlsx",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": ".pptx",
    "text/plain": ".txt",
    "text/csv": ".csv",
}
_KINDS = {extension: MediaKind.of(mimetype) for mimetype, extension in EXTENSIONS.items()}
#: Says nothing about the content, so it corrects no name.
_GENERIC = "application/octet-stream"
_BUILT_IN = mimetypes.MimeTypes()


def file_name(original: str, *, mimetype: str) -> str:
    """``original`` without folders, with an extension that fits ``mimetype``; ``file.<extension>`` when it is empty.

    A known extension of the same kind stays: browsers report a ``.csv`` as a spreadsheet, and it must stay one.
    """
    name = PurePosixPath(original.replace("\\", "/")).name.strip()
    family = mimetype.partition(";")[0].strip().lower()
    suffix = PurePosixPath(name).suffix.lower()
    if suffix and (family == _GENERIC or _kind_of(suffix) is MediaKind.of(family)):
        return name
    extension = EXTENSIONS.get(family) or _BUILT_IN.guess_extension(family)
    # An extension unknown to us may well be known to the gateway.
    return name if suffix and extension is None else (name or "file") + (extension or ".bin")


def _kind_of(suffix: str) -> MediaKind | None:
    if suffix in _KINDS:
        return _KINDS[suffix]
    guessed, _ = _BUILT_IN.guess_type("x" + suffix)
    return MediaKind.of(guessed) if guessed else None
