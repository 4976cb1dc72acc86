"""The Django store in a process that nobody has set up Django in, as a worker's is."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
MAKES = """
from types import SimpleNamespace
from actors.errors import SettingsError
from actors.stores.base import make_store

try:
    print("made", make_store("django", SimpleNamespace(models={}, field_map={})).name)
except SettingsError as error:
    print("refused", error)
"""


@pytest.fixture
def run(tmp_path):
    def start(**environ: str) -> str:
        path = f"{ROOT}:{ROOT / 'tests' / 'project'}:{tmp_path}"
        variables = {"PATH": "/usr/bin:/bin", "PYTHONPATH": path, "CHATSITE_DATABASE": str(tmp_path / "db.sqlite3")}
        return subprocess.run(
            [sys.executable, "-c", MAKES],
            env={**variables, **environ},
            cwd=tmp_path,
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        ).stdout

    return start


def test_django_is_set_up_where_that_has_not_happened(run):
    assert run(DJANGO_SETTINGS_MODULE="chatsite.settings") == "made django\n"


def test_a_settings_module_that_is_not_there_is_named(run):
    said = run(DJANGO_SETTINGS_MODULE="nowhere.settings")

    assert "Django could not be set up (ModuleNotFoundError 'nowhere')" in said


def test_no_settings_module_is_said(run):
    assert "Django could not be set up (ImproperlyConfigured)" in run()


def test_an_app_that_fails_shows_its_class_and_no_secret(run, tmp_path):
    (tmp_path / "failing.py").write_text("raise ValueError('postgres://user:hunter2@db')")
    (tmp_path / "broken.py").write_text("from chatsite.settings import *\nINSTALLED_APPS = ['failing']\n")

    said = run(DJANGO_SETTINGS_MODULE="broken")

    assert "Django could not be set up (ValueError)" in said
    assert "hunter2" not in said


def test_a_project_without_the_app_is_told_to_install_it(run, tmp_path):
    (tmp_path / "without.py").write_text("from chatsite.settings import *\nINSTALLED_APPS = ['chat']\n")

    assert "add 'actors.django_app' to INSTALLED_APPS" in run(DJANGO_SETTINGS_MODULE="without")
