"""Encrypt a stream on its way to a file, and back, in the format of age (age-encryption.org) by pyrage.

``middleware.backup_file`` alone uses it. pyrage wants to read one stream and write another in one call, so it works in a thread
of its own at the other end of a pipe.
"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any

from middleware.errors import PipelineError

#: How a file in this format begins: bytes, or text.
MAGIC = (b"age-encryption.org/v1", b"-----BEGIN AGE ENCRYPTED FILE-----")


class BadKey(PipelineError):
    """A key cannot be used, does not fit, or pyrage is not installed."""

    code = "backup_key"


@contextmanager
def encrypting(sink: IO[bytes], recipients: Sequence[str]) -> Iterator[IO[bytes]]:
    """A stream whose bytes arrive in ``sink`` encrypted for the recipients (``age1…`` or ``ssh-ed25519 …``).

    Raises:
        BadKey: a recipient is none.
        OSError: ``sink`` takes no more.
    """
    pyrage = _pyrage()
    keys = [_recipient(pyrage, text) for text in recipients]
    reader, writer = _pipe()
    watched = _Watched(sink)

    def encrypt() -> None:
        try:
            pyrage.encrypt_io(reader, watched, keys)
        except pyrage.EncryptError:
            # pyrage makes a text of what a stream raised.
            raise watched.error or BadKey("the backup cannot be encrypted for these keys") from None

    thread = _Thread(encrypt, closing=reader)
    try:
        with writer:
            yield writer
    except BrokenPipeError:
        thread.finish()
        raise
    except BaseException:
        thread.join()
        raise
    thread.finish()


@contextmanager
def decrypting(source: IO[bytes], identities: Sequence[str]) -> Iterator[IO[bytes]]:
    """A stream of what ``source`` holds; ``identities``: secret keys (``AGE-SECRET-KEY-1…`` or an SSH key).

    Raises:
        BadKey: none of them fits.
        OSError: what ``source`` holds is cut off or was changed: the stream ends early, and the block with this.
    """
    pyrage = _pyrage()
    keys = [_identity(pyrage, text) for text in identities]
    reader, writer = _pipe()
    watched = _Watched(writer)

    def decrypt() -> None:
        try:
            pyrage.decrypt_io(source, watched, keys)
        except pyrage.DecryptError:
            raise watched.error or BadKey(
                "the backup cannot be decrypted: it is damaged, or made for another key; give the right one"
            ) from None

    thread = _Thread(decrypt, closing=writer)
    try:
        with reader:
            yield reader
    except BaseException:
        thread.join()
        # What was read came to an early end: a key that does not fit is why.
        if isinstance(thread.error, BadKey):
            raise thread.error from None
        raise
    thread.finish()


class _Watched:
    """A stream to write to that remembers its error."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        try:
            return self.stream.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self.stream.flush()


class _Thread(threading.Thread):
    """Runs one end of a pipe; its error is raised by :meth:`finish`."""

    def __init__(self, work: Callable[[], None], *, closing: IO[bytes]) -> None:
        super().__init__(name="backup-cipher", daemon=True)
        self.work, self.closing = work, closing
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            with self.closing:
                self.work()
        except BaseException as error:
            self.error = error

    def finish(self) -> None:
        self.join()
        if self.error is not None:
            raise self.error


def _pipe() -> tuple[IO[bytes], IO[bytes]]:
    reader, writer = os.pipe()
    return os.fdopen(reader, "rb"), os.fdopen(writer, "wb")


def _pyrage() -> Any:
    try:
        import pyrage
    except ImportError as error:
        raise BadKey("encrypted backups need pyrage: pip install chat-actors[encryption]") from error
    return pyrage


def _recipient(pyrage: Any, text: str) -> Any:
    kind = pyrage.ssh if text.startswith("ssh-") else pyrage.x25519
    try:
        return kind.Recipient.from_str(text)
    except pyrage.RecipientError:
        raise BadKey(f"{text[:12]}… is no public key of age; it begins with age1 or ssh-") from None


def _identity(pyrage: Any, text: str) -> Any:
    try:
        if text.startswith("-----BEGIN"):
            return pyrage.ssh.Identity.from_buffer(text.encode())
        return pyrage.x25519.Identity.from_str(text)
    except pyrage.IdentityError:
        # Nothing of a secret key is quoted.
        raise BadKey("the identity is no secret key of age; a line of it begins with AGE-SECRET-KEY-1") from None
