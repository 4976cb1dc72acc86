"""The other models of docs/stores.md work as printed, and a host proves its own store as the page says."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from docs_pages import Page
from host_project import ROOT, HostProject, database_setting, printed

#: Rows of that project, sent and delivered in one process.
TRY = """
from actors import send_message
from actors.testing import Sends
from crm.models import Line, Post, Thread

line = Line.objects.create(account="a", label="line-1")
Line.objects.create(account="b", label="line-1")
thread = Thread.objects.create(line=line, number="+5511988887777")
post = Post.objects.create(thread=thread, body="oi")
other = Post.objects.create(thread=Thread.objects.create(line=line, number=""), body="oi")
with Sends() as sends:
    send_message.send_many([post.pk, other.pk])
    sends.run()
    print(sends.sandbox.texts(), end=" ")
post.refresh_from_db()
other.refresh_from_db()
print(post.state, post.provider_id[:4], other.state, other.failure.partition(":")[0])
"""
#: A world around a store; the store is ours here, as a host's would be.
OUR_STORE = """
import uuid

from actors.stores.memory import MemoryStore


class OurWorld:
    def __init__(self):
        self.store = MemoryStore()
        self.add, self.message, self.conversation = self.store.add, self.store.message, self.store.conversation

    def new_id(self):
        return str(uuid.uuid4())

    def another_store(self):
        return self.store

    def write_group_key(self, conversation_id, key, value):
        with self.store._lock:
            self.store.conversation(conversation_id).group_metadata[key] = value

    def leave_thread(self):
        pass
"""


def test_the_example_is_short():
    lines = [
        line for name in ("crm/models.py", "crm_settings.py") for line in printed("docs/stores.md", name).split("\n")
    ]

    assert len([line for line in lines if line]) <= 40
    ast.parse("\n".join(lines))


@pytest.mark.slow
@pytest.mark.parametrize("place", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def test_a_project_with_other_models_delivers(request, tmp_path: Path, place):
    url = request.getfixturevalue("postgres").url if place == "postgres" else None
    project = HostProject(tmp_path, {"REDIS_URL": "redis://127.0.0.1:1"})
    project.run("python -m django startproject mysite .")
    project.run("python manage.py startapp crm")
    for name in ("crm/models.py", "crm_settings.py"):
        project.write("docs/stores.md", name)
    here = 'INSTALLED_APPS += ["crm", "actors.django_app"]\nCHAT_ACTORS = {"MODELS": MODELS, "FIELD_MAP": FIELD_MAP}\n'
    project.append(
        "mysite/settings.py", f"\nfrom crm_settings import FIELD_MAP, MODELS\n\n{here}{database_setting(url)}"
    )
    project.run("python manage.py makemigrations crm")
    assert "no issues" in project.run("python manage.py check")
    project.run("python manage.py migrate --skip-checks")
    (tmp_path / "try.py").write_text(TRY)

    said = project.run("python manage.py shell", given="exec(open('try.py').read())")

    assert "['oi'] sent 3EB0 failed bad_recipient" in said


@pytest.mark.slow
def test_the_contract_is_run_over_a_store_of_ones_own_as_the_page_says(tmp_path: Path):
    (block,) = [block for block in Page("docs/stores.md").blocks if "StoreContract" in block.text]
    (tmp_path / "test_our_store.py").write_text(block.text)
    (tmp_path / "our_store.py").write_text(OUR_STORE)
    # As printed, with the path of this source tree.
    (line,) = [line for line in _lines() if "test_our_store.py" in line]
    line = line.replace("/path/to/chat-actors", str(ROOT)).replace("python ", f"{sys.executable} ")
    done = subprocess.run(
        ["sh", "-c", line.replace("/tests ", f"/tests{os.pathsep}{ROOT} ", 1)],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTEST_ADDOPTS": "-q -p no:cacheprovider -p no:django"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


def _lines() -> list[str]:
    return [
        line for block in Page("docs/stores.md").blocks if block.language == "sh" for line in block.text.split("\n")
    ]
