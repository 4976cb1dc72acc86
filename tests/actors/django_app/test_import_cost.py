"""What the app costs a web process at its start."""

import json
import os
import subprocess
import sys

import pytest

#: Prints the CPU time of a start in milliseconds, and what it loaded of what must come late.
START = """
import json, resource, sys
from django.conf import settings
database = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
settings.configure(INSTALLED_APPS=sys.argv[1:], DATABASES={"default": database}, CHAT_ACTORS={"LEASE_MS": 20000})
from django.core.wsgi import get_wsgi_application
get_wsgi_application()
import asgiref.sync, django.urls
used = resource.getrusage(resource.RUSAGE_SELF)
late = ("apscheduler", "httpx", "pika", "prometheus_client", "pydantic", "rich", "sentry_sdk", "typer")
print(json.dumps([1000 * (used.ru_utime + used.ru_stime), [name for name in late if name in sys.modules]]))
"""


def _start(*apps: str) -> tuple[float, list[str]]:
    bare = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    start = [sys.executable, "-c", START, *apps]
    done = subprocess.run(start, env=bare, capture_output=True, text=True, timeout=120, check=True)
    cost_ms, late = json.loads(done.stdout)
    return cost_ms, late


def test_a_web_process_loads_nothing_at_its_start_that_only_workers_need():
    assert _start("actors.django_app")[1] == []


@pytest.mark.slow
def test_the_app_costs_a_web_process_less_than_a_quarter_of_a_second(record_property):
    # The best of some, in turn: CPU time still grows where many processes share a core.
    starts = [(_start()[0], _start("actors.django_app")[0]) for _ in range(8)]

    cost_ms = min(app for _, app in starts) - min(bare for bare, _ in starts)
    record_property("app_import_ms", round(cost_ms))
    assert cost_ms <= 250
