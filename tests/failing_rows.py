"""A message of which it is known that it fails: its row with a file, and what it failed of."""

from flow_world import PHONE, World, working
from waiting import until

import actors
from actors.domain import AttemptState, MessageStatus
from actors.stores.rows import AttachmentRow


def attach(world: World, url: str, mime_type: str = "image/png", name: str = "a.png") -> None:
    world.store.add(
        AttachmentRow(message_id="m1", mime_type=mime_type, original_filename=name, short_url=url, created_at_ms=1)
    )


def failed(world: World) -> tuple[str, str]:
    """Reason and sentence of m1, which fails after one attempt and asked for nothing."""
    actors.send_message.send("m1")
    with working():
        until(lambda: world.status("m1") == MessageStatus.FAILED, within_ms=5_000)
    [letter] = world.letters()
    assert letter.attempts == 1
    shown = world.store.message("m1").error_message
    assert len(shown.encode()) <= 2_048
    assert len(str(letter.error).encode()) <= 2_048
    code, _, sentence = shown.partition(": ")
    assert code == letter.reason
    assert len(sentence) > 20
    assert not [one for one in (PHONE[1:], "segredo") if one in f"{shown} {letter}"]
    assert all(row.state is AttemptState.DEAD for row in world.store.attempts("m1"))
    return letter.reason, sentence
