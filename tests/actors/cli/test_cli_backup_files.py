"""``chat-actors backup`` and a file that is none of its own, cut or changed: it is refused and changes nothing."""

import gzip

import pyrage
import pytest
from backup_site import filled
from backup_world import lines, rewrite

from middleware.errors import ExitCode

__all__ = ["filled"]

pytestmark = pytest.mark.redis


def test_a_changed_or_cut_encrypted_backup_is_refused(run, filled, tmp_path):
    secret = pyrage.x25519.Identity.generate()
    (tmp_path / "key").write_text(f"{secret}\n")
    run("backup", "create", str(filled), "-r", str(secret.to_public()))
    whole = filled.read_bytes()
    for broken in (
        whole[:-1],
        whole[:-20] + bytes([whole[-20] ^ 1]) + whole[-19:],
        whole[: len(whole) // 2],
        whole[:60],
    ):
        filled.write_bytes(broken)
        assert run("backup", "verify", str(filled), "-i", str(tmp_path / "key")).code == ExitCode.BAD_FILE


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"something else\n",
        gzip.compress(b""),
        gzip.compress(b"no line"),
        gzip.compress(b"[]\n"),
        gzip.compress(b'{"format":"other"}\n'),
        gzip.compress(b'{"format":"chat-actors-backup","version":99}\n'),
        gzip.compress(b'{"format":"chat-actors-backup","version":1}\n'),
        gzip.compress(b'{"format":"chat-actors-backup","version":1,"created_at_ms":1,"namespace":"n","way":"w"}\n'),
        gzip.compress(b"[" * 100_000 + b"\n"),
    ],
    # gzip writes the time: as ids they would differ between two processes of one run.
    ids=range(10),
)
def test_a_foreign_file_is_refused_and_changes_nothing(run, site, queue_client, tmp_path, content):
    path = tmp_path / "foreign"
    path.write_bytes(content)
    before = queue_client.dbsize()

    for command in (["verify"], ["restore", "--yes"]):
        refused = run("backup", command[0], str(path), *command[1:])
        assert (refused.code, refused.err.startswith("chat-actors: foreign ")) == (ExitCode.BAD_FILE, True)
    assert queue_client.dbsize() == before
    assert run("backup", "verify", str(tmp_path / "nowhere")).code == ExitCode.DISK


def test_half_a_backup_is_refused_wherever_it_was_cut(run, filled, queue_client):
    run("backup", "create", str(filled))
    whole = filled.read_bytes()
    queue_client.flushall()

    for end in (1, 20, len(whole) // 2, len(whole) - 9, len(whole) - 1):
        filled.write_bytes(whole[:end])
        refused = run("backup", "restore", str(filled), "--yes")
        assert (refused.code, refused.out) == (ExitCode.BAD_FILE, "")
    assert queue_client.dbsize() == 0


def _without_last(found):
    return found[:-1]


def _without_one(found):
    return [*found[:1], *found[2:]]


def _other_body(found):
    return [{**line, "body": "other"} if line.get("kind") == "message" else line for line in found]


def _after_the_end(found):
    return [*found, found[-1]]


def _nul_in_lane(found):
    return [{**line, "lane": "a\0b"} if line.get("kind") == "message" else line for line in found]


@pytest.mark.parametrize("change", [_without_last, _without_one, _other_body, _after_the_end, _nul_in_lane])
def test_a_changed_backup_is_refused_and_changes_nothing(run, filled, queue_client, change):
    run("backup", "create", str(filled))
    rewrite(filled, change(lines(filled)))
    queue_client.flushall()

    assert run("backup", "restore", str(filled), "--yes").code == ExitCode.BAD_FILE
    assert queue_client.dbsize() == 0
