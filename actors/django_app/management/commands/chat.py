"""``manage.py chat …``: the commands of ``chat-actors`` with the host's settings loaded.

Run by operators; ``manage.py chat --help`` lists the commands.
"""

import argparse
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import connections


class Command(BaseCommand):  # type: ignore[misc]  # Django brings no types
    """Hand every argument to the command line of ``actors.cli``."""

    help = "Commands of chat-actors: worker, doctor, stats, dlq and others; 'manage.py chat --help' lists them."
    # doctor reports what is wrong; a check that fails must not keep it from doing so.
    requires_system_checks = ()

    def run_from_argv(self, argv: list[str]) -> None:
        """Take the arguments as they are; Django has already followed its own two."""
        parser = CommandParser(add_help=False, allow_abbrev=False)
        parser.add_argument("--settings")
        parser.add_argument("--pythonpath")
        _, arguments = parser.parse_known_args(argv[2:])
        try:
            code = _main(arguments)
        finally:
            # As Django's own commands do.
            connections.close_all()
        sys.exit(code)

    def add_arguments(self, parser: CommandParser) -> None:
        """For ``call_command("chat", "stats", "--json")``."""
        parser.add_argument("arguments", nargs=argparse.REMAINDER)

    def handle(self, *args: Any, **options: Any) -> None:
        """Run it inside this process; a code other than 0 ends it."""
        del args
        code = _main(options["arguments"])
        if code:
            sys.exit(code)


def _main(arguments: list[str]) -> int:
    # Late: the command line loads the broker, which "manage.py help" does not need.
    from actors.cli import main

    return int(main(arguments, program="manage.py chat"))
