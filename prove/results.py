"""Write what `make prove` measured as JSON: the commit, the machine, every test with its outcome and its figures.

Run by the Makefile: ``results.py junit.xml results.json``. A test adds a figure with pytest's ``record_property``.
"""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET


def main(junit: Path, results: Path) -> None:
    """Translate pytest's report; figures that are numbers become numbers."""
    report = ET.parse(junit).getroot()  # noqa: S314  # written by our own pytest a moment ago
    suite = next(report.iter("testsuite"))
    body = {
        "commit": _git("rev-parse", "HEAD"),
        # Figures of a changed tree belong to no commit.
        "changed_files": len(_git("status", "--porcelain").splitlines()),
        "at": suite.get("timestamp"),
        "machine": {"python": platform.python_version(), "system": platform.platform(), "processors": os.cpu_count()},
        "tests": [_test(case) for case in report.iter("testcase")],
    }
    results.write_text(json.dumps(body, indent=2) + "\n")
    sys.stdout.write(f"{len(body['tests'])} tests → {results}\n")


def _test(case: ET.Element) -> dict[str, object]:
    outcome = next((tag for tag in ("failure", "error", "skipped") if case.find(tag) is not None), "passed")
    figures = {item.get("name", ""): _number(item.get("value", "")) for item in case.iter("property")}
    name = f"{case.get('classname')}::{case.get('name')}"
    return {"name": name, "outcome": outcome, "seconds": float(case.get("time", 0)), "figures": figures}


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True)  # noqa: S603, S607
    return done.stdout.strip()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
