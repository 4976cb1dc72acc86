"""What lies in a backup: ids. Texts, numbers and keys are planted everywhere, and looked for."""

import gzip
from pathlib import Path

import pytest
from backup_world import of_kind
from flow_world import PHONE, Change, World, working
from waiting import until

import actors
from actors.backups import backup_queues, found

pytestmark = pytest.mark.redis


def test_no_text_no_number_and_no_key_is_in_a_backup(world: World, change: Change, tmp_path: Path):
    change(backup_dir=str(tmp_path))
    secrets = [PHONE, PHONE.lstrip("+"), "planted text", world.sandbox.apikey]
    refusal = {"type": "status", "status": 400, "body": f"planted text to {PHONE}"}
    world.sandbox.admin.add_fault(refusal, match={"op": "sendText"})
    with working():
        actors.send_message.send(world.say("dies", "planted text"))
        until(world.letters, within_ms=10_000)
    actors.send_message.send(world.say("waits", "planted text"))
    actors.fetch_profile_pic.send("c1", PHONE)

    backup_queues()

    [one] = found(tmp_path)
    text = gzip.decompress(one.path.read_bytes()).decode()
    assert of_kind(one.path, "letter")
    assert {line["queue"] for line in of_kind(one.path, "message")} == {"send_message", "fetch_profile_pic"}
    assert "waits" in text
    assert [secret for secret in secrets if secret in text] == []
