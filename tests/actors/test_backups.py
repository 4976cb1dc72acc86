"""The periodic backup: what it writes and what it keeps."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import hypothesis.strategies as st
import pyrage
import pytest
import redis
from backup_world import of_kind
from housekeeping_world import HOUR_MS, NOW_MS
from housekeeping_world import World as Housekeeping
from hypothesis import given

import actors
from actors import services
from actors.backups import BackupFile, backup_queues, file_name, found, superfluous
from middleware.backup import CannotWrite
from middleware.brokers.redis.embedded import EmbeddedRedis

pytestmark = pytest.mark.redis

DAY_MS = 24 * HOUR_MS


@pytest.fixture
def site(redis_server: EmbeddedRedis, queue_client: redis.Redis, tmp_path: Path) -> Iterator[Housekeeping]:
    site = Housekeeping(redis_server, queue_client)
    services.install(replace(site.work, settings=replace(site.work.settings, backup_dir=str(tmp_path))))
    yield site
    actors.broker.close()
    services.install(None)


def change(**settings: object) -> None:
    services.install(replace(services.get(), settings=replace(services.settings(), **settings)))


def test_it_writes_a_file_with_its_time_that_holds_the_queues(site, tmp_path):
    site.say("m1", age_ms=1)
    actors.send_message.send("m1")

    backup_queues()

    [one] = found(tmp_path)
    assert (one.path.name, one.at_ms) == (file_name(NOW_MS, encrypted=False), NOW_MS // 1000 * 1000)
    assert [line["unique_key"] for line in of_kind(one.path, "message")] == ["m1"]


def test_it_is_encrypted_where_there_are_recipients(site, tmp_path):
    change(backup_recipients=f"{pyrage.x25519.Identity.generate().to_public()}, ")

    backup_queues()

    [one] = found(tmp_path)
    assert one.is_encrypted
    assert one.path.read_bytes().startswith(b"age-encryption.org/v1")


def test_without_a_folder_it_does_nothing_and_a_missing_one_is_told(site, tmp_path):
    change(backup_dir=None)
    backup_queues()
    assert list(tmp_path.iterdir()) == []

    change(backup_dir=str(tmp_path / "nowhere"))
    with pytest.raises(CannotWrite, match="no such file or directory"):
        backup_queues()


def test_a_file_that_another_process_removes_meanwhile_is_none(tmp_path):
    (tmp_path / file_name(NOW_MS, encrypted=False)).symlink_to(tmp_path / "gone")

    assert found(tmp_path) == []


def test_old_files_go_and_others_stay(site, tmp_path):
    old, foreign = tmp_path / file_name(NOW_MS - 90 * DAY_MS, encrypted=False), tmp_path / "chat-queue-notes.txt"
    abandoned = tmp_path / f"{file_name(NOW_MS - 2 * DAY_MS, encrypted=True)}.partial"
    growing = tmp_path / f"{file_name(NOW_MS - HOUR_MS, encrypted=True)}.partial"
    for path in (old, foreign, abandoned, growing):
        path.write_bytes(b"x")

    backup_queues()

    assert {path.name for path in tmp_path.iterdir()} == {
        foreign.name,
        growing.name,
        file_name(NOW_MS, encrypted=False),
    }


def _file(at_ms: int) -> BackupFile:
    return BackupFile(path=Path(file_name(at_ms, encrypted=False)), at_ms=at_ms, bytes=1)


def test_all_of_the_last_hours_and_the_last_of_each_day_are_kept():
    midnight = NOW_MS // DAY_MS * DAY_MS
    recent = [_file(midnight - hours * HOUR_MS) for hours in range(1, 4)]
    before = [_file(midnight - DAY_MS - hours * HOUR_MS) for hours in (1, 2, 3)]
    older = [_file(midnight - 2 * DAY_MS - hours * HOUR_MS) for hours in (1, 2)]

    gone = superfluous([*before, *older, *recent], now_ms=midnight, keep_hours=4, keep_days=2)

    assert gone == [*before[1:], *older]


@given(
    ages_h=st.lists(st.integers(0, 24 * 60), unique=True), keep_hours=st.integers(1, 72), keep_days=st.integers(0, 40)
)
def test_the_newest_and_all_recent_files_are_never_removed(ages_h, keep_hours, keep_days):
    files = [_file(NOW_MS - age * HOUR_MS) for age in ages_h]
    gone = superfluous(files, now_ms=NOW_MS, keep_hours=keep_hours, keep_days=keep_days)

    kept = [one for one in files if one not in gone]
    assert not files or max(files, key=lambda one: one.at_ms) in kept
    assert all(NOW_MS - one.at_ms >= keep_hours * HOUR_MS for one in gone)
    # What is kept once is kept when the same files are looked at again.
    assert superfluous(kept, now_ms=NOW_MS, keep_hours=keep_hours, keep_days=keep_days) == []
