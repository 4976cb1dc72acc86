"""Open a snapshot of a whole Redis (an RDB file) in a private server beside the live one, so that its queues can be copied.

``chat-actors backup create --from-rdb`` uses it. Nothing moves there, so that copy is of one moment.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from middleware.backup import CannotWrite
from middleware.brokers.redis.embedded import EmbeddedRedis

#: Longest wait until the server has read the file, in seconds; 245 MB took one of ours less than 4 s.
LOADED_WITHIN_S = 600.0


@contextmanager
def loaded(path: Path, *, db: int) -> Iterator["redis.Redis"]:
    """Client of a database of the snapshot; needs a ``redis-server`` of its version or a later one, and memory for all of it.

    Raises:
        CannotWrite: the file is not there.
        EmbeddedRedisFailed: no server was found, or it cannot read the file; the text has the end of its log.
    """
    if not path.is_file():
        raise CannotWrite(f"{path} cannot be read: it is no file")
    with tempfile.TemporaryDirectory(prefix="chat-rdb-") as folder:
        # Only a link: what a server may do to its own file must not happen to a backup.
        place = Path(folder)
        (place / "dump.rdb").symlink_to(path.resolve())
        server = EmbeddedRedis(directory=place, unix_socket=True, ready_within_s=LOADED_WITHIN_S)
        with server, server.client(db) as client:
            yield client
