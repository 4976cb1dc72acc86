"""One measurement of one contestant, in a process of its own: ``python -m bench.probe MEASURE CONTESTANT ARGUMENTS``.

A process of its own, so that no library, thread or garbage of one contestant weighs on another. The last line that it prints
is its result as JSON.
"""

import json
import sys
from importlib import import_module
from time import monotonic

from bench import machine
from bench.arena import TookTooLong, open_arena
from bench.contestant import Cannot


def main(measure: str, contestant: str, arguments: str) -> None:
    """Measure and print; what went wrong is a result, too."""
    module = import_module(f"bench.measures.{measure}")
    began_s, busy_s = monotonic(), machine.busy_s()
    try:
        with open_arena(contestant, server_options=getattr(module, "SERVER_OPTIONS", None)) as arena:
            result = module.run(arena, **json.loads(arguments))
            used_s = arena.used_s()
            result["others_cores"] = max(0.0, machine.busy_s() - busy_s - used_s) / (monotonic() - began_s)
    except ImportError as error:
        result = {"not_run": f"cannot be imported: {error}"}
    except Cannot as reason:
        result = {"not_run": str(reason)}
    except TookTooLong as error:
        result = {"failed": str(error)[:1_500]}
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
