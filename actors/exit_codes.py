"""Which exit code an error ends a command with; docs/exit-codes.md shows the codes to people.

``app`` asks for every error that a command lets through, ``doctor`` for those it found.
"""

from actors.errors import SettingsError, Transient
from middleware.backup import CannotWrite
from middleware.backup_cipher import BadKey
from middleware.backup_file import BadBackup
from middleware.backup_restore import RestoreStopped
from middleware.brokers.redis.copies import RestoreUnderWay
from middleware.brokers.redis.pin import BadRedisUrl
from middleware.errors import ExitCode, QueueFull, QueueRefused, QueueUnavailable, Refusal

#: The first class that an error is of decides.
_CODES: tuple[tuple[type[BaseException], ExitCode], ...] = (
    (SettingsError, ExitCode.SETTINGS),
    (BadRedisUrl, ExitCode.SETTINGS),
    (QueueUnavailable, ExitCode.UNAVAILABLE),
    (QueueFull, ExitCode.UNAVAILABLE),
    (QueueRefused, ExitCode.UNAVAILABLE),
    (Transient, ExitCode.UNAVAILABLE),
    (BadBackup, ExitCode.BAD_FILE),
    (BadKey, ExitCode.BAD_FILE),
    (CannotWrite, ExitCode.DISK),
    (RestoreUnderWay, ExitCode.BUSY),
    (RestoreStopped, ExitCode.UNAVAILABLE),
)


def code_of(error: BaseException) -> ExitCode:
    """Exit code of an error; what is not foreseen is ``FAILED``."""
    if isinstance(error, Refusal):
        return ExitCode(int(error.code or 0))
    return next((code for kind, code in _CODES if isinstance(error, kind)), ExitCode.FAILED)
