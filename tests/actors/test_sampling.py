"""Who samples in a process, how the settings bear on it, and the rows of the host's own table."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import redis
from desk.models import UsageSample
from django.utils import timezone

import actors
from actors import sampling, services
from actors.errors import SettingsError
from actors.housekeeping import record_memory_usage
from actors.services import Services
from actors.settings import Hidden, Settings
from actors.stores.django_usage import KEEP_S, UsageRows
from actors.stores.memory import MemoryStore
from middleware.brokers.redis.embedded import EmbeddedRedis
from middleware.errors import ExitCode, Refusal
from middleware.memory import Sample, latest
from middleware.worker_process import ask_for_another

KEY = "chat:queue:__memory__"
TAKEN = Sample(at_ms=1, used_memory_bytes=5_000, persistence={"aof_bytes": 70}, databases={"0": {"keys": 100}})


class DjangoLike(MemoryStore):
    """Rows in memory, under the name of the store whose tables stand in Django."""

    name = "django"


@pytest.fixture
def use(redis_server: EmbeddedRedis, queue_client: redis.Redis) -> Iterator[Any]:
    """``use(**settings)``: work with these."""

    def use(**fields: Any) -> Services:
        settings = Settings(redis_url=Hidden(redis_server.url(0)), store="memory", **fields)
        work = Services(settings=settings, store=DjangoLike())
        services.install(work)
        return work

    yield use
    actors.broker.close()
    services.install(None)


# -- who samples ---------------------------------------------------------------------------------------------------


@pytest.mark.redis
def test_the_actor_and_the_thread_share_what_they_keep_and_the_settings_bear_on_it(use):
    use(memory_every_s=300, max_rss_mb=512)
    record_memory_usage()

    watch = sampling.watch()
    assert watch is sampling.watch()
    assert len(watch.recent) == 1
    assert (watch.options.every_ms, watch.options.max_rss_bytes) == (300_000, 512 * 1024 * 1024)
    assert watch.options.replace is ask_for_another


@pytest.mark.redis
def test_other_settings_have_a_watch_of_their_own(use):
    use()
    first = sampling.watch()
    use(memory_every_s=120)

    assert sampling.watch() is not first


@pytest.mark.redis
def test_samples_of_a_slot_of_five_minutes_are_one(use, queue_client):
    use(memory_every_s=300)
    for _ in range(3):
        record_memory_usage()

    assert 1 <= len(latest(queue_client, KEY, count=10)) <= 2


@pytest.mark.redis
@pytest.mark.parametrize("command", ["-xadd", "-@write"])
def test_a_redis_that_takes_no_sample_is_no_failure_of_the_actor(use, queue_client, redis_server, caplog, command):
    queue_client.acl_setuser(
        "reader", enabled=True, reset=True, passwords=["+x"], keys=["*"], commands=["+@all", command]
    )
    work = use()
    url = Hidden(f"redis://reader:x@127.0.0.1:{redis_server.port}/0")
    services.install(replace(work, settings=replace(work.settings, redis_url=url)))
    actors.broker.close()

    record_memory_usage()

    queue_client.acl_deluser("reader")
    assert "memory.not_recorded" in caplog.text
    assert latest(queue_client, KEY, count=1) == []


@pytest.mark.redis
def test_nothing_is_watched_where_nothing_is_scheduled(use):
    use(scheduler="none")
    stop = sampling.prepare(actors.broker)

    assert sampling.watch()._thread is None
    stop()


@pytest.mark.redis
def test_a_worker_process_watches_until_it_is_stopped(use):
    use(scheduler="periodiq")
    stop = sampling.prepare(actors.broker)
    thread = sampling.watch()._thread

    assert thread.is_alive()
    stop()
    thread.join(10)
    assert not thread.is_alive()


# -- rows of the host ----------------------------------------------------------------------------------------------


def rows() -> list[UsageSample]:
    return list(UsageSample.objects.order_by("id"))


def add(written: UsageRows, sample: Sample = TAKEN, **counts: int) -> None:
    written.add(sample, count=lambda words: {name: counts.get(name) for name in words})


@pytest.mark.django_db
def test_a_row_has_the_host_s_columns():
    add(UsageRows.of("desk.UsageSample", {}), keys_profile_pic=30)

    [row] = rows()
    assert (row.used_memory, row.aof_current_size) == (5_000, 70)
    assert (row.keys_profile_pic, row.keys_webhook) == (30, None)
    assert timezone.now() - row.sampled_at < timedelta(minutes=1)


@pytest.mark.django_db
def test_rows_are_ten_minutes_apart_and_those_older_than_a_week_go():
    written = UsageRows.of("desk.UsageSample", {})
    add(written)
    add(written)
    assert len(rows()) == 1

    UsageSample.objects.update(sampled_at=timezone.now() - timedelta(seconds=600))
    old = UsageSample.objects.create(used_memory=1)
    UsageSample.objects.filter(pk=old.pk).update(sampled_at=timezone.now() - timedelta(seconds=KEEP_S + 60))
    add(written)

    assert [row.used_memory for row in rows()] == [5_000, 5_000]


@pytest.mark.django_db
def test_a_sample_without_the_memory_makes_no_row():
    add(UsageRows.of("desk.UsageSample", {}), Sample(at_ms=1))

    assert rows() == []


@pytest.mark.django_db
def test_other_names_are_mapped_and_what_a_host_lacks_is_left_out():
    # Of its bigger columns this model has only these: another's name for the same.
    written = UsageRows.of("desk.UsageSample", {"used_memory": "keys_webhook", "keys_webhook": "aof_current_size"})

    assert written.paths["used_memory"] == "keys_webhook"


def test_a_table_that_does_not_fit_is_said_with_every_fault():
    with pytest.raises(SettingsError, match=r"'nowhere\.Sample' \(redis_usage\) does not exist"):
        UsageRows.of("nowhere.Sample", {})
    with pytest.raises(SettingsError) as caught:
        UsageRows.of("desk.Inbox", {"wrong": "x", "keys_webhook": "gone"})
    assert [
        fault
        for word in ("sampled_at", "used_memory", "gone", "wrong")
        for fault in caught.value.faults
        if word in fault
    ]
    assert len(caught.value.faults) == 4


@pytest.mark.redis
def test_a_worker_whose_table_does_not_fit_does_not_start(use, caplog):
    use(models={"redis_usage": "nowhere.Sample"})

    with pytest.raises(Refusal) as refused:
        sampling.prepare(actors.broker)

    assert refused.value.code == ExitCode.SETTINGS
    assert "redis_usage" in caplog.text


@pytest.mark.redis
@pytest.mark.django_db
def test_a_recorded_sample_becomes_a_row_with_the_keys_of_the_cache_counted(use, redis_server):
    with redis_server.client(0) as cache:
        pipe = cache.pipeline(transaction=False)
        for number in range(400):
            pipe.set(f"alrea_cache:1:profile_pic:{number:032x}" if number % 2 else f"webhook:{number}", b"x")
        pipe.execute()
    use(models={"redis_usage": "desk.UsageSample"})

    record_memory_usage()

    [row] = rows()
    assert row.used_memory == sampling.watch().recent[0].used_memory_bytes
    assert row.keys_profile_pic + row.keys_webhook == 400
    assert row.keys_webhook == pytest.approx(200, abs=60)
