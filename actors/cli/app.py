"""All commands under one name, and what becomes of their errors.

``actors.cli.main`` calls :func:`run`. The files of the commands import nothing heavy by themselves, so that ``--help`` is quick.
"""

import sys
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer

from actors.cli import audit, backup, control, dlq, doctor, instances, memory, migrate_legacy, sandbox, stats, worker
from actors.cli.terminal import Refused, say_json
from actors.exit_codes import code_of
from middleware.errors import Described, ExitCode, Refusal

#: A wrong command line, as the parser raises it. The parser that typer brings differs between its versions, this place does not.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]

_EXAMPLES = """\b
Examples:
  chat-actors doctor                        is everything as it must be?
  chat-actors worker --processes 4          deliver
  chat-actors stats                         what waits, what runs, who works
  chat-actors instances                     which instances are parked, and why
  chat-actors dlq groups                    what was given up, and why
  chat-actors dlq redrive --reason gateway_unreachable

\b
Settings come from the environment (REDIS_URL, CHAT_…) or from CHAT_ACTORS of the Django project that
DJANGO_SETTINGS_MODULE names. Exit codes: docs/exit-codes.md."""

app = typer.Typer(
    name="chat-actors",
    help="Deliver chat messages in the background, and see how that goes.",
    epilog=_EXAMPLES,
    no_args_is_help=True,
    add_completion=False,
    # Plain text, and no traceback that shows the values of variables.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)
app.command(epilog=worker.EXAMPLES)(worker.worker)
app.command(epilog=doctor.EXAMPLES)(doctor.doctor)
app.command(epilog=stats.EXAMPLES)(stats.stats)
app.add_typer(dlq.app)
app.add_typer(instances.app)
app.command(epilog=control.PAUSE_EXAMPLES)(control.pause)
app.command(epilog=control.RESUME_EXAMPLES)(control.resume)
app.command(epilog=control.CANCEL_EXAMPLES)(control.cancel)
app.command(epilog=audit.EXAMPLES)(audit.audit)
app.command(epilog=memory.EXAMPLES)(memory.memory)
app.add_typer(backup.app)
app.command(epilog=migrate_legacy.EXAMPLES)(migrate_legacy.migrate_legacy)
app.add_typer(sandbox.app)


def _show_version(value: bool) -> None:  # noqa: FBT001  # the parser calls it
    if value:
        from importlib.metadata import version

        print(f"chat-actors {version('chat-actors')}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version and end.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    # Its own callback shows the version. run() has taken --debug out, wherever it stood; it is declared for the help.
    del version, debug


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True}, add_help_option=False)
def demo(context: typer.Context) -> Any:
    """Run the whole product here; it needs nothing."""
    from actors.cli.demo import demo as carry_out

    inner = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    inner.command()(carry_out)
    return typer.main.get_command(inner).main(context.args, "chat-actors demo", standalone_mode=False)


def run(arguments: list[str], *, program: str = "chat-actors") -> ExitCode:
    """Run the command that the arguments name, as ``program``; says on stderr what went wrong, in one clear sentence.

    With ``--json`` the same goes to stdout as an object ``error``, so that what is there always parses.
    """
    debug, as_json = "--debug" in arguments, "--json" in arguments
    here = str(Path.cwd())
    if not {"", here} & set(sys.path):
        # A host's settings module lies here. Behind everything else: a host may have a package that is called like one of ours.
        sys.path.append(here)
    try:
        command = typer.main.get_command(app)
        rest = [argument for argument in arguments if argument != "--debug"]
        done: Any = command.main(rest, program, standalone_mode=False)
    except _UsageError as error:
        error.show()  # type: ignore[attr-defined]  # the parser's own: usage, then what is wrong
        return _failed(ExitCode.USAGE, error.format_message(), as_json=as_json, said=True)  # type: ignore[attr-defined]
    except Refused as error:
        return _failed(error.exit_code, str(error), as_json=as_json)
    except (KeyboardInterrupt, typer.Abort):
        return _failed(ExitCode.INTERRUPTED, "stopped", as_json=as_json)
    except (Exception, Refusal) as error:
        if debug:
            traceback.print_exc()
        name = getattr(error, "code", None) if isinstance(error, Described) else None
        return _failed(code_of(error), _sentence(error, debug=debug), as_json=as_json, name=name)
    return ExitCode(done or ExitCode.OK)


def _failed(code: ExitCode, text: str, *, as_json: bool, name: str | None = None, said: bool = False) -> ExitCode:
    if not said:
        print(f"chat-actors: {text}", file=sys.stderr)
    if as_json:
        # The reason of an error of ours (docs/errors.md), else that of the exit code.
        say_json({"error": {"code": name or code.name.lower(), "exit_code": int(code), "message": text}})
    return code


def _sentence(error: BaseException, *, debug: bool) -> str:
    if isinstance(error, Described | Refusal):
        return str(error)
    # The text of a foreign error may quote a row or a password. That of a missing module names it, and that is needed.
    name = f" ({error.name})" if isinstance(error, ImportError) and error.name else ""
    advice = "" if debug else "; run it again with --debug to see where"
    return f"it failed with {type(error).__name__}{name}{advice}"
