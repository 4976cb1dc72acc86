"""``chat-actors sandbox``: a gateway on this machine that delivers nowhere; ``sandbox check``: is it like the real one?"""

from pathlib import Path
from typing import Annotated

import typer

from actors.cli import terminal
from middleware.errors import ExitCode

EXAMPLES = """\b
Examples:
  chat-actors sandbox --port 9311
  chat-actors sandbox check
  CHAT_GATEWAY=sandbox CHAT_SANDBOX_URL=http://127.0.0.1:9311 chat-actors worker

\b
The first line it writes is JSON with its URL and the token for its admin calls (docs/sandbox.md)."""

_CHECK_EXAMPLES = """\b
Examples:
  chat-actors sandbox check
  chat-actors sandbox check --url http://127.0.0.1:9311 --admin-token let-me-in
  chat-actors sandbox check --url https://evolution.example --instance line-1 --allow-remote

\b
A server of another machine is asked for what it refuses and what it knows; nothing is sent without --send-to."""

app = typer.Typer(
    name="sandbox",
    help="Run a gateway that delivers nowhere, until Ctrl-C.",
    epilog=EXAMPLES,
    invoke_without_command=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["--help", "-h"]},
)


@app.callback()
def sandbox(  # noqa: PLR0913  # one per option
    context: typer.Context,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0 takes a free one.")] = 0,
    apikey: Annotated[str | None, typer.Option(help="The key that clients must show; else the sandbox's own.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed and order of requests give the same faults.")] = 0,
    admin_token: Annotated[str | None, typer.Option(help="For the admin calls; random when not given.")] = None,
    config: Annotated[
        Path | None, typer.Option(help="JSON file: instances, contacts, groups, faults, limits, webhook.")
    ] = None,
    *,
    allow_remote: Annotated[bool, typer.Option("--allow-remote", help="Listen beyond this machine.")] = False,
) -> None:
    """Run a gateway that delivers nowhere, until Ctrl-C."""
    import json

    from actors.gateways.sandbox.server import SANDBOX_KEY, serve

    if context.invoked_subcommand is not None:
        return
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


@app.command(epilog=_CHECK_EXAMPLES)
def check(  # noqa: PLR0913  # one per option
    url: Annotated[str | None, typer.Option(help="The server; without it a sandbox is started and asked.")] = None,
    apikey: Annotated[
        str | None, typer.Option(envvar="CHAT_EVOLUTION_API_KEY", help="Its key; else the sandbox's own.")
    ] = None,
    instance: Annotated[str, typer.Option(help="A connected number of it.")] = "i1",
    admin_token: Annotated[
        str | None, typer.Option(help="It is a sandbox: ask everything. Its fixtures, faults and logs are lost.")
    ] = None,
    send_to: Annotated[
        str | None, typer.Option(help="Send messages to this number, too. A real server really delivers them.")
    ] = None,
    *,
    allow_remote: Annotated[bool, typer.Option("--allow-remote", help="It may be another machine.")] = False,
    as_json: terminal.AsJson = False,
) -> ExitCode:
    """Ask whether a server answers as Evolution 2.3.6 does."""
    from actors.cli import sandbox_check

    asked = sandbox_check.Asked(url, apikey, instance, admin_token, send_to, allow_remote=allow_remote)
    findings = sandbox_check.run(asked)
    if as_json:
        terminal.say_json(sandbox_check.as_dict(findings))
    else:
        sandbox_check.show(findings)
    return ExitCode.FAILED if any(one.differences for one in findings) else ExitCode.OK
