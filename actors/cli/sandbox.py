"""``chat-actors sandbox``: a gateway on this machine that delivers nowhere."""

from pathlib import Path
from typing import Annotated

import typer

from actors.cli import terminal

EXAMPLES = """\b
Examples:
  chat-actors sandbox --port 9311
  CHAT_GATEWAY=sandbox CHAT_SANDBOX_URL=http://127.0.0.1:9311 chat-actors worker

\b
The first line it writes is JSON with its URL and the token for its admin calls (docs/gateways.md)."""


def sandbox(  # noqa: PLR0913  # one per option
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0 takes a free one.")] = 0,
    apikey: Annotated[str | None, typer.Option(help="The key that clients must show; else the sandbox's own.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed and order of requests give the same faults.")] = 0,
    admin_token: Annotated[str | None, typer.Option(help="For the admin calls; random when not given.")] = None,
    config: Annotated[Path | None, typer.Option(help="JSON file with instances, contacts, groups, faults.")] = None,
    *,
    allow_remote: Annotated[bool, typer.Option("--allow-remote", help="Listen beyond this machine.")] = False,
) -> None:
    """Run a gateway that delivers nowhere, until Ctrl-C."""
    import json

    from actors.gateways.sandbox.server import SANDBOX_KEY, serve

    try:
        serve(
            host=host,
            port=port,
            apikey=apikey or SANDBOX_KEY,
            seed=seed,
            admin_token=admin_token,
            fixtures=json.loads(config.read_text("utf-8")) if config else None,
            allow_remote=allow_remote,
        )
    except (ValueError, OSError) as error:
        # Its own words: a port that is taken, a fixture that does not fit.
        raise terminal.Refused(str(error)) from error
