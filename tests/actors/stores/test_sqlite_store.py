"""What the SQLite store promises beyond the contract: one file, many processes."""

import multiprocessing
import sqlite3
import stat
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from contracts.store_world import first

from actors.errors import SettingsError, Transient
from actors.settings import Settings
from actors.stores.base import make_store
from actors.stores.rows import ConversationRow, InstanceRow, MessageRow
from actors.stores.sqlite import SqliteStore

ROOT = Path(__file__).parents[3]
NOW_MS = 1_760_000_000_000
THREAD = ConversationRow(id="c-1", contact_phone="+5511988887777", instance_name="line-1")
HELLO = MessageRow(id="m-1", conversation_id="c-1", created_at_ms=NOW_MS, content="hello")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "chats.sqlite3"


def _claim_all(path: Path, count: int) -> list[str]:
    store = SqliteStore(path)
    wanted = [f"m-{index}" for index in range(count)]
    won = [id_ for id_ in wanted if store.claim(first(id_))]
    store.close()
    return won


def test_processes_that_race_for_a_new_file_share_it_and_win_each_message_once(path):
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=3, mp_context=context) as pool:
        won = [pool.submit(_claim_all, path, 40) for _ in range(3)]
        ids = [id_ for future in won for id_ in future.result(timeout=60)]

    assert sorted(ids) == sorted(f"m-{index}" for index in range(40))


FORKS = """
import os, sys
from pathlib import Path
from actors.stores.sqlite import SqliteStore

store = SqliteStore(Path(sys.argv[1]))
assert store.load_message("m-1").text == "hello"
pid = os.fork()
if pid == 0:
    store.mark_sent("m-1", provider_message_id="P1")
    os._exit(0 if store.message("m-1").status == "sent" else 1)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
assert store.message("m-1").status == "sent"
"""


def test_a_forked_process_opens_the_file_for_itself(path):
    store = SqliteStore(path)
    store.add(THREAD, HELLO)

    # In a process of its own: this one has threads, and forking those is another matter.
    subprocess.run([sys.executable, "-c", FORKS, str(path)], check=True, cwd=ROOT, timeout=60)

    assert store.message("m-1").message_id == "P1"
    store.close()


def test_the_file_is_for_its_owner_only(path):
    store = SqliteStore(path)
    store.add(THREAD)

    modes = {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}

    assert modes == {0o600}
    store.close()


def test_a_claim_is_on_disk_before_it_returns(path):
    store = SqliteStore(path)
    store.claim(first("m-1"))

    with store._file.open() as connection:
        # 2 = FULL: a commit is synced; with 1 a power cut could undo it after the gateway was called.
        assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    store.close()


def test_rows_put_in_together_are_in_together_or_not_at_all(path):
    store = SqliteStore(path)
    with pytest.raises(sqlite3.IntegrityError):
        store.add(THREAD, HELLO, MessageRow(id="m-2", conversation_id="c-1", created_at_ms=None))

    assert store.route("m-1") is None
    store.close()


def test_the_file_may_be_given_back_and_used_again(path):
    store = SqliteStore(path)
    store.add(InstanceRow(instance_name="line-1"))
    store.close()

    assert store.load_instance("line-1", tenant_id=None).name == "line-1"
    store.close()


def test_a_file_that_cannot_be_used_is_a_store_that_is_down(path):
    store = SqliteStore(path)
    store.add(THREAD, HELLO)
    with store._file.open() as connection:
        connection.execute("DROP TABLE message")

    with pytest.raises(Transient) as caught:
        store.load_message("m-1")

    assert caught.value.code == "store_unavailable"
    assert "OperationalError" in str(caught.value)
    assert "no such table" not in str(caught.value)
    store.close()


def test_a_transaction_that_an_interrupted_thread_left_open_is_undone(path):
    store, other = SqliteStore(path), SqliteStore(path)
    store.add(THREAD, HELLO)
    with store._file.open() as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE message SET status = 'failed'")

    assert store.mark_sent("m-1", provider_message_id="P1") is True

    assert other.message("m-1").message_id == "P1"
    store.close()
    other.close()


def test_a_file_of_a_newer_version_is_refused(path):
    SqliteStore(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()

    with pytest.raises(SettingsError, match="newer version"):
        SqliteStore(path).route("m-1")


def test_settings_name_the_file(path):
    store = make_store("sqlite", Settings(sqlite_path=str(path)))
    store.close_stale_connections()

    assert store.route("m-1") is None
    assert path.exists()
    store.close()


@pytest.mark.parametrize(
    ("value", "said"), [(None, "CHAT_SQLITE_PATH is not set"), ("/nowhere/chats", "does not exist")]
)
def test_settings_without_a_usable_path_are_refused(value, said):
    with pytest.raises(SettingsError, match=said):
        make_store("sqlite", Settings(sqlite_path=value))


#: The table of attempts as the first version made it.
FIRST_VERSION = """
CREATE TABLE send_attempt (
    message_id TEXT NOT NULL, part INTEGER NOT NULL, state TEXT NOT NULL, number INTEGER NOT NULL,
    instance_name TEXT NOT NULL, started_at_ms INTEGER NOT NULL, deadline_at_ms INTEGER NOT NULL,
    looks INTEGER NOT NULL DEFAULT 0, provider_message_id TEXT, reason TEXT, PRIMARY KEY (message_id, part));
INSERT INTO send_attempt VALUES ('m-0', 0, 'unknown', 1, 'line-1', 1, 2, 1, NULL, 'timeout');
PRAGMA user_version = 1;
"""


def test_a_file_of_the_first_version_keeps_its_attempts(path):
    connection = sqlite3.connect(path)
    connection.executescript(FIRST_VERSION)
    connection.close()

    store = SqliteStore(path)
    [attempt] = store.attempts("m-0")

    assert (attempt.state, attempt.looks, attempt.resends, attempt.fingerprint) == ("unknown", 1, 0, "")
    assert store.claim(first("m-1")) is not None
    store.close()


def test_a_block_inside_another_is_part_of_it(path):
    store, other = SqliteStore(path), SqliteStore(path)
    store.add(THREAD, HELLO)

    def write_and_stop() -> None:
        with store._file.writing():
            assert store.mark_sent("m-1", provider_message_id="P1") is True
            with store._file.writing():
                store.claim(first("m-1"))
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_and_stop()

    assert (other.message("m-1").status, other.attempts("m-1")) == ("pending", [])
    store.close()
    other.close()
