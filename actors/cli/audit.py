"""``chat-actors audit``: who did what to the queues."""

import json
from typing import Annotated

import typer

from actors.cli import terminal
from actors.cli.queues import open_queues

EXAMPLES = """\b
Examples:
  chat-actors audit
  chat-actors audit -n 500 --json

\b
Commands and admin pages write here before they change anything; the last 10,000 entries are kept."""


def audit(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="Newest to show.")] = 50,
    *,
    as_json: terminal.AsJson = False,
) -> None:
    """Show who did what to the queues, newest first."""
    from middleware.audit import AuditTrail

    with open_queues() as broker:
        found = [entry.as_json() for entry in AuditTrail(broker).newest(limit=limit)]
    if as_json:
        terminal.say_json(found)
    elif found:
        rows = ((one["at"], one["who"], one["what"], json.dumps(one["facts"], ensure_ascii=False)) for one in found)
        terminal.show_table(("at", "who", "what", "facts"), rows)
    else:
        terminal.say("nobody has done anything yet")
