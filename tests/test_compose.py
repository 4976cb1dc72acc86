"""What compose/ ships is right: rules pass promtool, queries name metrics that exist, the Redis keeps what it is given."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from docs_pages import Page, only, quoted

from actors import gauges
from actors.circuit import Cause, Circuit, State
from actors.gauges import Look
from actors.standings import standings
from middleware.board import Board, worker_families
from middleware.brokers.redis.embedded import find_binary
from middleware.brokers.redis.values import QueueStats
from middleware.memory import Sample
from middleware.meters import Family, families
from middleware.stats import Snapshot

ROOT = Path(__file__).parents[1]
COMPOSE = ROOT / "compose"
DASHBOARD = COMPOSE / "grafana/dashboards/chat-actors.json"

DEPTHS = dict.fromkeys(("ready", "delayed", "in_flight", "waiting_in_lane", "waiting_in_group", "dead"), 1)
STATS = QueueStats(
    "q",
    **DEPTHS,
    oldest_ready_age_s=1,
    oldest_dead_age_s=1,
    lanes_held=1,
    next_due_in_ms=None,
    paused_for_s=None,
    counters={"done": 1},
)
SAMPLE = Sample(
    at_ms=1,
    used_memory_bytes=1,
    peak_bytes=1,
    maxmemory_bytes=1,
    fragmentation=1.0,
    databases={"2": {"keys": 1, "estimated_bytes": 1}},
    queues={"q": {"estimated_bytes": 1}},
    memory={"rss_bytes": 1},
)


def all_families() -> list[Family]:
    """Everything that ``/metrics`` can show."""
    circuits = {"support": Circuit(state=State.OPEN, cause=Cause.SESSION_DOWN)}
    looked = [
        *gauges._of_queues(Snapshot(queues=(STATS,), workers=())),
        *gauges._of_workers(()),
        *gauges._of_instances(standings({}, circuits)),
        *gauges._of_memory(SAMPLE, now_ms=2),
    ]
    return [*families({}), *worker_families(Board().workers()), *Look(lambda: looked).families()]


FAMILIES = all_families()
SUFFIXES = {"gauge": [""], "counter": [""], "histogram": ["_bucket", "_sum", "_count"]}
NAMES = {f"{family.name}{suffix}" for family in FAMILIES for suffix in SUFFIXES[family.kind]}
LABELS = {family.name: {*family.labels} for family in FAMILIES}


def expressions() -> Iterator[tuple[str, str]]:
    """Every query of the dashboard and of the alerts, with where it stands."""
    dashboard = json.loads(DASHBOARD.read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            yield f"panel {panel['title']}", target["expr"]
    yield from alerts().items()


def alerts() -> dict[str, str]:
    """Alert → its rule, as text: the suite has no reader of YAML, and promtool checks the form."""
    parts = re.split(r"^ +- alert: (\w+)$", (COMPOSE / "alerts.yml").read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


QUERIES = list(expressions())


@pytest.mark.parametrize("query", [query for _, query in QUERIES], ids=[name for name, _ in QUERIES])
def test_every_query_names_metrics_and_labels_that_exist(query: str):
    named = re.findall(r"\b(chat_actors_\w+)(?:\{([^}]*)\})?", query)

    assert named or 'up{job="chat-actors"}' in query
    for name, selector in named:
        assert name in NAMES
        family = re.sub(r"_(bucket|sum|count)$", "", name) if name not in LABELS else name
        assert set(re.findall(r"(\w+)(?:=|!=|=~|!~)\"", selector)) <= LABELS[family] | {"le"}


def test_every_metric_is_on_the_dashboard():
    shown = DASHBOARD.read_text()

    assert [family.name for family in FAMILIES if family.name not in shown] == []


def test_every_metric_is_documented_with_its_kind_and_labels():
    rows = Page("docs/metrics.md").rows("metric", "kind", "labels")
    documented = {(only(row["metric"]), row["kind"], tuple(quoted(row["labels"]))) for row in rows}

    assert documented == {(family.name, family.kind, family.labels) for family in FAMILIES}


def test_no_label_grows_with_the_traffic_or_is_a_scrapers_own():
    labels = {label for family in FAMILIES for label in family.labels}

    assert labels == {
        *("queue", "actor", "outcome", "code", "chat_instance"),
        *("worker", "state", "cause", "event", "db"),
    }


def test_every_check_of_health_is_documented_and_each_documented_one_exists():
    text = (ROOT / "middleware/vitals.py").read_text() + (ROOT / "middleware/board.py").read_text()
    there = {*re.findall(r'(?:Finding|_hangs|_timely)\(\s*"(\w+)"', text), "store"}

    assert {only(row["check"]) for row in Page("docs/health.md").rows("check")} == there


def test_every_alert_is_tried_and_says_where_to_read_on():
    tried = (COMPOSE / "alerts_test.yml").read_text()
    anchors = Page("docs/metrics.md").anchors

    assert len(alerts()) >= 12
    for name, rule in alerts().items():
        assert re.search(rf"alertname: {name}\n\s+exp_alerts:", tried), f"{name} is not seen to fire"
        assert f"alertname: {name}}}" in tried, f"{name} is not seen to keep quiet"
        assert f"runbook: docs/metrics.md#{name.lower()}" in rule
        assert name.lower() in anchors


@pytest.fixture
def promtool() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs it; skipped on a laptop without, a failure in CI."""
    binary = shutil.which("promtool")
    if binary is None:
        told = "no promtool on PATH (Debian: prometheus)"
        pytest.fail(told) if os.environ.get("CI") else pytest.skip(told)

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([str(binary), *words], cwd=COMPOSE, capture_output=True, text=True, check=False)

    return run


@pytest.mark.parametrize(
    "words",
    [("check", "rules", "alerts.yml"), ("test", "rules", "alerts_test.yml"), ("check", "config", "prometheus.yml")],
    ids=" ".join,
)
def test_promtool_is_content(promtool, words):
    found = promtool(*words)

    assert found.returncode == 0, found.stdout + found.stderr


def test_promtool_reads_what_a_worker_shows(promtool, tmp_path):
    from middleware.metrics import exposed

    rows: dict[str, Any] = {"gauge": (1.0,), "counter": (1.0,)}
    filled = [
        Family(
            one.name,
            one.kind,
            one.help,
            one.labels,
            [(["x"] * len(one.labels), rows.get(one.kind) or [1.0] * (len(one.bounds) + 2))],
            one.bounds,
        )
        for one in FAMILIES
    ]
    _, body = exposed(filled, accept="")
    found = subprocess.run(
        [shutil.which("promtool") or "", "check", "metrics"], input=body, capture_output=True, check=False
    )

    # 3 are remarks on style; 1 is what no scraper reads.
    assert found.returncode in (0, 3), found.stdout + found.stderr


@pytest.mark.redis
def test_the_redis_of_compose_starts_with_its_settings_and_keeps_what_it_was_given(tmp_path, require):
    from contextlib import closing

    import redis
    from waiting import until

    require("redis")
    socket = tmp_path / "s"
    command = [
        str(find_binary()),
        str(COMPOSE / "redis.conf"),
        "--port",
        "0",
        "--unixsocket",
        str(socket),
        "--dir",
        str(tmp_path),
    ]

    def started() -> Any:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        client = redis.Redis(unix_socket_path=str(socket))
        until(lambda: _answers(client), within_ms=20_000)
        return process, client

    process, client = started()
    with closing(client):
        assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"
        assert client.config_get("appendonly")["appendonly"] == "yes"
        client.rpush("chat:queue:q", "m1")
        until(lambda: client.info("persistence")["aof_pending_bio_fsync"] == 0, within_ms=10_000)
    process.kill()
    process.wait()
    process, client = started()
    with closing(client):
        kept = client.lrange("chat:queue:q", 0, -1)
    process.terminate()
    process.wait(20)

    assert kept == [b"m1"]


def _answers(client: Any) -> bool:
    import redis

    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
