"""Both packages carry types: a host's editor completes ``send_message.send(``, and its type checker finds what is wrong."""

import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

CONSUMER = Path(__file__).with_name("consumer.py")
ROOT = CONSUMER.parents[2]


@pytest.mark.parametrize("package", ["actors", "middleware"])
def test_a_package_says_that_it_is_typed(package):
    assert files(package).joinpath("py.typed").is_file()


def test_a_host_is_told_of_its_mistakes_and_of_nothing_else():
    mypy = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--hide-error-context", str(CONSUMER)]
    done = subprocess.run(mypy, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)

    found = {(int(line), code) for line, code in re.findall(r"consumer\.py:(\d+): error: .*\[([a-z-]+)\]", done.stdout)}
    lines = enumerate(CONSUMER.read_text().splitlines(), start=1)
    wanted = {(number, line.partition("# error: ")[2]) for number, line in lines if "# error: " in line}
    assert len(wanted) == 7
    assert found == wanted, done.stdout + done.stderr
    assert all("consumer.py" in line for line in done.stdout.splitlines() if ": error:" in line), done.stdout
