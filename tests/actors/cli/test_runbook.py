"""Every command of docs/operations.md is run in the state that it is for, and prints what the page says it prints."""

import os
import re
import shlex
import signal
import subprocess
import sys
from contextlib import ExitStack

import doctor_faults_queues as faults
import pytest
from docs_pages import ROOT
from doctor_world import Patient
from runbook import Step, is_printed, steps
from waiting import until

import actors
from actors import wiring
from actors.circuit import Cause, Failure, failed
from actors.cli import main as cli_main
from actors.domain import Instance
from actors.stores.rows import ConversationRow, InstanceRow, MessageRow
from middleware import memory
from middleware.brokers.redis.roster import Roster
from middleware.errors import ExitCode
from middleware.outcomes import Dead
from middleware.slots import MINUTE_MS

pytestmark = pytest.mark.redis

STEPS = steps()
LETTER = "0f8fad5b-d9cb-469f-a165-70867728950e"
WAITING = "6f1c1f0e-8c0d-4f0e-9f43-0f6f2c5d7a11"
SCENES = {}


def scene(make):
    SCENES[make.__name__.replace("_", "-")] = make
    return make


@pytest.fixture
def patient(site, tmp_path):
    with ExitStack() as stack:
        patient = Patient(site, stack)
        patient.home = tmp_path
        patient.serve()
        site.store.add(InstanceRow(instance_name="support", api_key="k", api_url="http://x"))
        yield patient
        site.broker.close()


# -- states ------------------------------------------------------------------------------------------------------------


@scene
def quiet(patient):
    patient.settle()


@scene
def nobody_works(patient):
    actors.send_message.send(patient.site.say("m1"))


@scene
def crowded(patient):
    patient.settle()
    for number in range(3):
        actors.send_message.send(patient.site.say(f"m{number}"))
    actors.send_message.send(patient.site.say("m9", instance="sales"))


@scene
def parked(patient):
    patient.settle()
    failure = Failure(cause=Cause.SESSION_DOWN, code="connection_closed")
    wiring.traffic().change(Instance(name="support"), lambda now: failed(now, failure, now_ms=1_000))
    for number in range(2):
        actors.send_message.send(patient.site.say(f"m{number}"))


@scene
def paused(patient):
    crowded(patient)
    patient.site.broker.transitions.pause("send_message")


@scene
def given_up(patient):
    patient.settle()
    _bury(patient, "m0", "not_found", job_id=LETTER)
    for number in range(1, 4):
        _bury(patient, f"m{number}", "unauthorized")


@scene
def maybe_delivered(patient):
    patient.settle()
    _bury(patient, "m0", "delivery_unknown", job_id=LETTER)


@scene
def went_astray(patient):
    patient.settle()
    _bury(patient, "m0", "recipient_mismatch", job_id=LETTER)


def _bury(patient, id_, reason, *, job_id=None):
    broker, now_ms = patient.site.broker, patient.site.broker.clock.now_ms()
    patient.site.say(id_, status="failed")
    message = actors.send_message.message(id_)
    broker.enqueue(message if job_id is None else message.copy(message_id=job_id))
    [fetched] = broker.transitions.fetch("send_message", limit=1, lease_ms=5_000, owner="test").messages
    last = {"attempt": 1, "code": reason, "class": "NotFound", "error": "the gateway does not know it", "frames": []}
    evidence = {
        "class": "NotFound",
        "error": "the gateway does not know it",
        "attempts": 1,
        "failures": [last],
        "first_failed_at_ms": now_ms,
    }
    broker.transitions.finish(fetched.lease, Dead(reason, evidence), body=fetched.body)
    broker.transitions.announced("send_message", [fetched.lease.id])


@scene
def waiting(patient):
    patient.settle()
    actors.send_message.send(patient.site.say(WAITING))


@scene
def grows(patient):
    patient.settle()
    broker, client = patient.site.broker, patient.client(2)
    client.delete(broker.machinery.keys.memory)
    now_ms = broker.clock.now_ms()
    for minute in range(3, 0, -1):
        sample = memory.Sample(
            at_ms=now_ms - minute * MINUTE_MS,
            used_memory_bytes=(10 - minute) * 100_000_000,
            peak_bytes=900_000_000,
            maxmemory_bytes=2**30,
            policy="noeviction",
            fragmentation=1.1,
            databases={"0": {"keys": 90_000, "expires": 1_000, "estimated_bytes": None}},
            queues={"send_message": {"ready": 7}},
        )
        memory.record(client, broker.machinery.keys.memory, sample)


@scene
def full(patient):
    actors.send_message.send(patient.site.say("m1"))
    patient.client().config_set("maxmemory", 1_000_000)


@scene
def evicts(patient):
    patient.settle()
    patient.client().config_set("maxmemory-policy", "allkeys-lru")


@scene
def lost(patient):
    patient.settle()
    patient.site.store.add(
        ConversationRow(id="c-support", contact_phone="+5511988887777", instance_name="support"),
        MessageRow(id=WAITING, conversation_id="c-support", content="oi", created_at_ms=1, status="pending"),
    )


@scene
def emptied(patient):
    """A backup was taken, and Redis has lost everything since."""
    given_up(patient)
    assert cli_main(["backup", "create", str(patient.home / "queues.jsonl.gz")]) == ExitCode.OK
    patient.client().flushall()
    quiet(patient)


@scene
def old_product(patient):
    faults.old_product(patient)
    patient.client(2).delete("chat:queue:send_message")
    patient.client(0).rpush("chat:queue:send_message", f'{{"message_id": "{WAITING}"}}')


# -- running them ------------------------------------------------------------------------------------------------------


class Shell:
    """Runs one line of the page: commands of ours in this process, what is not ours as it is."""

    def __init__(self, run, patient) -> None:
        self.run = run
        self.patient = patient

    def __call__(self, line: str) -> tuple[int, str]:
        words = [word.replace("$HOME", str(self.patient.home)) for word in shlex.split(line, comments=True)]
        if words[:3] == ["python", "manage.py", "shell"]:
            exec(words[4], {})  # noqa: S102  # a line of our own page
            return 0, ""
        if words[:3] == ["python", "manage.py", "chat"]:
            words = ["chat-actors", *words[3:]]
        if words[:2] == ["chat-actors", "worker"]:
            return self._work(words[1:])
        if words[0] == "chat-actors" and "|" not in words:
            yes = ["--yes"] if _asks(words) else []
            ran = self.run(*words[1:], *yes)
            return ran.code, ran.out + ran.err
        return self._outside(line)

    def _outside(self, line: str) -> tuple[int, str]:
        environ = {**self._environ(), "PATH": f"{self._scripts()}{os.pathsep}{os.environ['PATH']}"}
        done = subprocess.run(line, shell=True, env=environ, cwd=ROOT, capture_output=True, text=True, timeout=60)  # noqa: S602
        return done.returncode, done.stdout

    def _scripts(self) -> str:
        script = self.patient.home / "chat-actors"
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m actors.cli "$@"\n')
        script.chmod(0o700)
        return str(self.patient.home)

    def _environ(self) -> dict[str, str]:
        url = self.patient.server.url(0).replace("//:", "//default:")
        ours = {"CHAT_STORE": "memory", "CHAT_SCHEDULER": "none", "CHAT_METRICS_PORT": "0", "CHAT_LEASE_MS": "1000"}
        return {**os.environ, "PYTHONPATH": str(ROOT), "REDIS_URL": url, "NEW_REDIS_URL": url, **ours}

    def _work(self, words: list[str]) -> tuple[int, str]:
        before = len(self._alive())
        process = subprocess.Popen(
            [sys.executable, "-m", "actors.cli", *words],
            env=self._environ(),
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            until(lambda: len(self._alive()) > before or process.poll() is not None, within_ms=30_000)
        finally:
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=30)
        return process.returncode, said

    def _alive(self):
        broker = self.patient.site.broker
        return Roster(broker.client, broker.machinery.keys).alive()


def _asks(words: list[str]) -> bool:
    """Whether a person would be asked; nobody is here to answer."""
    changes = words[1:3] in (["dlq", "redrive"], ["dlq", "discard"]) or words[1] == "cancel"
    changes = changes or "--fix" in words or words[1:3] == ["backup", "restore"]
    return changes and "--dry-run" not in words


#: A look that is meant to find something ends with what it found.
FINDS = {ExitCode.OK, ExitCode.FAILED, ExitCode.UNSAFE, ExitCode.UNAVAILABLE}


@pytest.mark.parametrize("step", STEPS, ids=lambda step: f"line {step.line}: {step.commands[0][:50]}")
def test_the_commands_of_the_page_print_what_it_says(run, patient, step: Step):
    SCENES[step.scene](patient)
    shell, said = Shell(run, patient), ""

    for line in step.commands:
        code, text = shell(line)
        said += text
        looks = re.search(r"(chat-actors|python manage.py chat) doctor", line)
        assert code in (FINDS if looks else {ExitCode.OK}), f"{line}: {code}: {text}"

    assert [line for line in step.prints if not is_printed(line, said)] == [], said


def test_every_state_is_one_that_the_page_is_for():
    assert {step.scene for step in STEPS} == set(SCENES)


def test_every_symptom_has_commands():
    text = (ROOT / "docs/operations.md").read_text()
    first = [line for line in text.splitlines() if line.startswith("## ")]

    assert len(first) > 12
    assert len([line for step in STEPS for line in step.commands]) > 30
