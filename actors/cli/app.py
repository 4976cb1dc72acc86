"""All commands under one name, and what becomes of their errors.

``actors.cli.main`` calls :func:`run`. The files of the commands import nothing heavy by themselves, so that ``--help`` is quick.
"""

import sys
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer

from actors.cli import dlq, doctor, memory, sandbox, stats, worker
from actors.cli.exit_codes import code_of
from actors.cli.terminal import Refused
from middleware.errors import Described, ExitCode, Refusal

#: A wrong command line, as the parser raises it. The parser that typer brings differs between its versions, this place does not.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]

_EXAMPLES = """\b
Examples:
  chat-actors doctor                        is everything as it must be?
  chat-actors worker --processes 4          deliver
  chat-actors stats                         what waits, what runs, who works
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
app.command(epilog=memory.EXAMPLES)(memory.memory)
app.command(epilog=sandbox.EXAMPLES)(sandbox.sandbox)


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


def run(arguments: list[str]) -> ExitCode:
    """Run the command that the arguments name; says on stderr what went wrong, in one clear sentence."""
    debug = "--debug" in arguments
    here = str(Path.cwd())
    if not {"", here} & set(sys.path):
        # A host's settings module lies here. Behind everything else: a host may have a package that is called like one of ours.
        sys.path.append(here)
    try:
        command = typer.main.get_command(app)
        rest = [argument for argument in arguments if argument != "--debug"]
        done: Any = command.main(rest, "chat-actors", standalone_mode=False)
    except _UsageError as error:
        error.show()  # type: ignore[attr-defined]  # the parser's own: usage, then what is wrong
        return ExitCode.USAGE
    except Refused as error:
        print(f"chat-actors: {error}", file=sys.stderr)
        return ExitCode.USAGE
    except (KeyboardInterrupt, typer.Abort):
        print("chat-actors: stopped", file=sys.stderr)
        return ExitCode.INTERRUPTED
    except (Exception, Refusal) as error:
        if debug:
            traceback.print_exc()
        print(f"chat-actors: {_sentence(error, debug=debug)}", file=sys.stderr)
        return code_of(error)
    return ExitCode(done or ExitCode.OK)


def _sentence(error: BaseException, *, debug: bool) -> str:
    if isinstance(error, Described | Refusal):
        return str(error)
    # The text of a foreign error may quote a row or a password. That of a missing module names it, and that is needed.
    name = f" ({error.name})" if isinstance(error, ImportError) and error.name else ""
    advice = "" if debug else "; run it again with --debug to see where"
    return f"it failed with {type(error).__name__}{name}{advice}"
