"""The pytest plugin costs a run that does not use it nothing, and is where pytest looks for it."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[3]
#: Without Django too: whoever has none has a store of another kind.
PLAIN = """
import sys

def test_nothing_is_loaded():
    loaded = {name.partition(".")[0] for name in sys.modules}
    assert not loaded & {"actors", "middleware", "dramatiq", "django", "redis", "httpx"}
"""
USED = """
import sys
import actors

class TestSends:
    def test_they_are_taken(self):
        actors.broker.enqueue(actors.record_memory_usage.message())
        assert "django" not in sys.modules

def test_it_is_open(request):
    from actors.testing.sends import opened
    assert len(opened().sent) == 0
"""


def _pytest(folder: Path, text: str, *options: str, **environ: str) -> str:
    (folder / "test_it.py").write_text(text)
    plain = ["-p", "no:django", "-p", "no:cacheprovider", "-p", "no:randomly", "-p", "pytest_chat_actors"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *plain, *options, "test_it.py"],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environ},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_run_that_does_not_use_it_loads_nothing_of_ours(tmp_path):
    assert "1 passed" in _pytest(tmp_path, PLAIN)


def test_with_the_option_every_test_has_it_open_also_without_django(tmp_path):
    assert "2 passed" in _pytest(tmp_path, USED, "-o", "chat_actors_capture=true", CHAT_STORE="memory")


def test_pytest_finds_it_where_the_package_is_installed():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]

    # One name for both, or pytest -p would load it a second time.
    assert project["project"]["entry-points"]["pytest11"] == {"pytest_chat_actors": "pytest_chat_actors"}
    assert wheel["force-include"] == {"pytest_chat_actors.py": "pytest_chat_actors.py"}
    assert (ROOT / "pytest_chat_actors.py").is_file()
