"""``memory``: the public shape, what a person sees, the picture, and a Redis that does not play along."""

import errno
import json
import struct
from pathlib import Path

import pytest

from actors.housekeeping import record_memory_usage
from actors.settings import Hidden
from middleware.errors import ExitCode
from middleware.memory import Sample, record

pytestmark = pytest.mark.redis

MB = 1024 * 1024


@pytest.fixture
def now_ms(queue_client) -> int:
    return queue_client.time()[0] * 1_000


@pytest.fixture
def put(site, queue_client, now_ms):
    """``put(minutes, used)``: a sample for each of the last minutes, ``used(minute)`` megabytes; the last one is of now."""

    def put(minutes: int, used=lambda minute: 100, **values):
        for minute in range(minutes):
            sample = Sample(
                at_ms=now_ms - (minutes - 1 - minute) * 60_000,
                used_memory_bytes=round(used(minute) * MB),
                maxmemory_bytes=512 * MB,
                policy="noeviction",
                databases={
                    "0": {"keys": 4, "expires": 4, "estimated_bytes": 3 * MB, "error": 0.02, "bound": "at_most"}
                },
                queues={"send_message": {"ready": 7, "delayed": 1, "dead": 2, "estimated_bytes": 2048}},
                server={"uptime_s": minute},
                **values,
            )
            assert record(queue_client, site.broker.machinery.keys.memory, sample)

    return put


# -- JSON ----------------------------------------------------------------------------------------------------------


def test_samples_have_the_public_shape_oldest_first(run, put):
    put(5, lambda minute: minute)

    found = json.loads(run("memory", "--json", "--limit", "2").out)

    older, newest = found["samples"]
    assert (older["used_memory_bytes"], newest["used_memory_bytes"]) == (3 * MB, 4 * MB)
    assert {
        *("at", "used_memory_bytes", "peak_bytes", "maxmemory_bytes", "policy", "fragmentation", "databases", "queues")
    } <= newest.keys()
    assert newest["databases"]["0"] == {
        "keys": 4,
        "expires": 4,
        "estimated_bytes": 3 * MB,
        "error": 0.02,
        "bound": "at_most",
    }
    assert newest["queues"]["send_message"]["ready"] == 7


def test_the_forecast_and_what_is_wrong_stand_beside_the_samples(run, put):
    put(121, lambda minute: 400 + minute / 2)

    found = json.loads(run("memory", "--json").out)

    assert len(found["samples"]) == 15
    assert found["forecast"]["outlook"] == "growing"
    assert found["forecast"]["early"] <= found["forecast"]["at"] <= found["forecast"]["late"]
    assert {one["code"]: one["level"] for one in found["findings"]} == {
        "memory_high": "warning",
        "memory_fills": "warning",
    }


def test_without_a_sample_that_is_what_is_wrong(run, site):
    found = json.loads(run("memory", "--json").out)

    assert found["samples"] == []
    assert [one["code"] for one in found["findings"]] == ["memory_not_sampled"]
    assert "no sample yet" in run("memory").out


def test_the_newest_samples_are_shown_however_old_they_are(run, site, queue_client):
    key = site.broker.machinery.keys.memory
    for minute in (1, 2, 3):
        record(queue_client, key, Sample(at_ms=minute * 60_000, used_memory_bytes=minute))

    found = json.loads(run("memory", "--json", "--limit", "2").out)

    assert [one["at"] for one in found["samples"]] == ["1970-01-01T00:02:00+00:00", "1970-01-01T00:03:00+00:00"]
    assert [one["code"] for one in found["findings"]] == ["memory_not_sampled"]
    assert "critical: no memory sample is recorded" in run("memory").out


def test_a_look_now_tells_bytes_and_prefixes_of_every_database(run, site, redis_server):
    with redis_server.client(0) as cache:
        for number in range(200):
            cache.set(f"alrea_cache:1:profile_pic:{number:032x}", b"x" * 500)

    found = json.loads(run("memory", "--json", "--prefixes").out)["now"]

    assert found["databases"]["0"]["bound"] == "about"
    [family] = found["prefixes"]["0"]
    assert (family["prefix"], family["keys"], family["error"]) == ("alrea_cache:1:profile_pic:*", 200, 0)
    assert family["size_bytes"] == pytest.approx(200 * 640, rel=0.1)
    shown = run("memory", "--prefixes").out
    assert "alrea_cache:1:profile_pic:*" in shown
    assert "database 0: 200 keys" in shown


# -- for people ----------------------------------------------------------------------------------------------------


def test_a_person_sees_the_state_the_forecast_a_drawing_and_what_holds_it(run, put):
    put(121, lambda minute: 100 + minute)

    shown = run("memory").out

    assert "220.0 MB used, of 512.0 MB (43%)" in shown
    assert "maxmemory is reached in" in shown
    assert "used memory up to maxmemory, 512.0 MB" in shown
    assert any("⠤" in line or "⡠" in line or "⠉" in line or "⣀" in line for line in shown.splitlines())
    assert [line.split() for line in shown.splitlines() if line.startswith("0 cache")] == [
        ["0", "cache", "4", "4", "≤", "3.0", "MB", "-"]
    ]
    assert [line.split() for line in shown.splitlines() if line.startswith("send_message")] == [
        ["send_message", "8", "2", "-", "2.0", "kB"]
    ]


def test_rows_are_lines_and_what_is_not_known_is_a_dash(run, site, queue_client, now_ms):
    sample = Sample(at_ms=now_ms, used_memory_bytes=3 * MB, maxmemory_bytes=0)
    record(queue_client, site.broker.machinery.keys.memory, sample)

    header, row = run("memory", "--rows").out.splitlines()

    assert header.split()[:3] == ["at", "used", "of"]
    assert row.split() == [sample.as_json()["at"], "3.0", "MB", "no", "limit", "-", "-", "-", "-", "0"]


def test_what_is_wrong_is_said_to_a_person(run, put):
    put(2, lambda minute: 500)

    assert "critical: Redis uses 98% of its maxmemory" in run("memory").out


def test_only_the_hours_that_were_asked_for_are_drawn_and_the_forecast_takes_a_day(run, put):
    put(121, lambda minute: 300 + minute)

    shown = run("memory", "--hours", "0.5")

    assert shown.code == 0
    assert "maxmemory is reached in" in shown.out


def test_a_real_sample_is_shown(run, site, queue_client):
    queue_client.set("somebody", 1)
    record_memory_usage()

    shown = run("memory")

    assert shown.code == 0
    assert "policy noeviction" in shown.out
    assert "2 queues" in shown.out


# -- the picture ---------------------------------------------------------------------------------------------------


def test_the_picture_is_a_png_of_a_sensible_size(run, put, tmp_path: Path):
    put(121, lambda minute: 100 + minute)
    path = tmp_path / "memory.png"

    ran = run("memory", "--png", str(path))

    assert ran.code == 0
    assert f"drawn into {path}" in ran.out
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", data[16:24])
    assert (width, height) == (1210, 935)
    assert len(data) > 20_000


def test_a_picture_takes_two_samples_and_a_place_to_be(run, put, tmp_path: Path):
    put(1)
    ran = run("memory", "--png", str(tmp_path / "memory.png"))
    assert (ran.code, "it takes two samples" in ran.err) == (ExitCode.USAGE, True)


def test_a_picture_that_cannot_be_written_is_said(run, put, tmp_path: Path):
    put(3)

    ran = run("memory", "--png", str(tmp_path / "no" / "where.png"))

    assert (ran.code, "the picture was not written" in ran.err) == (ExitCode.DISK, True)


def test_a_disk_that_is_full_keeps_no_half_picture_and_loses_no_device(run, put, tmp_path: Path, monkeypatch):
    put(3)
    full, picture = tmp_path / "full", tmp_path / "memory.png"
    full.symlink_to("/dev/full")
    assert run("memory", "--png", str(full)).code == ExitCode.DISK
    assert full.is_char_device()

    def half(path: Path, data: bytes) -> int:
        with path.open("wb") as out:
            out.write(data[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", half)
    assert run("memory", "--png", str(picture)).code == ExitCode.DISK
    assert not picture.exists()


# -- bad input -----------------------------------------------------------------------------------------------------


def test_a_user_without_info_still_sees_what_was_recorded_and_a_look_says_nothing_it_may_not(
    run, site, put, queue_client, redis_server
):
    put(2)
    queue_client.acl_setuser(
        "limited", enabled=True, reset=True, passwords=["+x"], keys=["*"], commands=["+@all", "-info", "-memory|usage"]
    )
    site.change(redis_url=Hidden(f"redis://limited:x@127.0.0.1:{redis_server.port}/0"))

    found = run("memory", "--json", "--prefixes")
    queue_client.acl_deluser("limited")

    assert found.code == 0
    said = json.loads(found.out)
    assert len(said["samples"]) == 2
    assert said["now"] == {"databases": {}, "prefixes": {}}


def test_a_redis_that_is_full_is_shown_all_the_same(run, put, queue_client):
    put(2)
    queue_client.config_set("maxmemory", 1)

    assert run("memory").code == 0
    assert run("memory", "--prefixes").code == 0


def test_a_redis_that_does_not_answer_is_said_with_its_code(run, site):
    site.change(redis_url=Hidden("redis://127.0.0.1:1/0"))

    ran = run("memory")

    assert ran.code == ExitCode.UNAVAILABLE
    assert "the queue's Redis cannot be asked" in ran.err


@pytest.mark.parametrize("hours", ["0", "-1", "2161", "x"])
def test_hours_are_within_what_is_kept(run, site, hours):
    assert run("memory", "--hours", hours).code == ExitCode.USAGE
