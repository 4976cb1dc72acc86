"""docs/testing.md does what it says: its tests are run as a host runs its own, by Django and by pytest, on both databases."""

import sys
from pathlib import Path

import pytest
import servers
from host_project import HostProject, database_setting

#: Its parts are tried in the process of the suite; this begins projects.
pytestmark = pytest.mark.slow

PYTEST = f"{sys.executable} -m pytest -q -p pytest_chat_actors -p no:cacheprovider -p no:randomly --ds mysite.settings"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> HostProject:
    """The quickstart's project with the README's view. No Redis: its URL leads nowhere."""
    url = None
    if request.param == "postgres":
        place: servers.PostgresDatabase = request.getfixturevalue("postgres")
        url = place.url
    project = HostProject(tmp_path, {"REDIS_URL": "redis://127.0.0.1:1", "CHAT_EVOLUTION_URL": "http://127.0.0.1:9"})
    project.environ["CHAT_EVOLUTION_API_KEY"] = "never-used"
    project.run("python -m django startproject mysite .")
    (tmp_path / "chat" / "migrations").mkdir(parents=True)
    for name in ("__init__.py", "migrations/__init__.py"):
        (tmp_path / "chat" / name).touch()
    project.write("docs/quickstart.md", "chat/models.py")
    project.write("README.md", "chat/views.py")
    project.write("docs/testing.md", "chat/tests.py")
    project.write("docs/testing.md", "test_chat.py")
    here = '\nINSTALLED_APPS += ["chat", "actors.django_app"]\nCHAT_ACTORS = {"BACKOFF_BASE_MS": 3_600_000}\n'
    project.append("mysite/settings.py", here + database_setting(url))
    project.run("python manage.py makemigrations chat")
    return project


def test_the_page_of_tests_passes_under_pytest(host):
    assert "7 passed" in host.run(f"{PYTEST} chat/tests.py test_chat.py")


def test_the_page_of_tests_passes_under_django(host):
    by_django = host.run("python -W error::RuntimeWarning manage.py test --noinput")

    assert "Ran 4 tests" in by_django
    assert "OK" in by_django
