"""``python -m actors.gateways.sandbox``: the sandbox gateway as a process of its own.

People and scripts start it; ``chat-actors sandbox`` is the same.
"""

import argparse
import json
from pathlib import Path

from actors.gateways.sandbox.server import SANDBOX_KEY, serve


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m actors.gateways.sandbox", description="Sandbox gateway.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--apikey", default=SANDBOX_KEY)
    parser.add_argument("--seed", type=int, default=0, help="the same seed and order of requests give the same faults")
    parser.add_argument("--admin-token", help="random when it is not given; the first line of output has it")
    parser.add_argument("--config", type=Path, help="JSON file with instances, contacts, groups, faults")
    parser.add_argument("--allow-remote", action="store_true", help="listen beyond loopback")
    given = parser.parse_args()
    try:
        serve(
            host=given.host,
            port=given.port,
            apikey=given.apikey,
            seed=given.seed,
            admin_token=given.admin_token,
            fixtures=json.loads(given.config.read_text("utf-8")) if given.config else None,
            allow_remote=given.allow_remote,
        )
    except (ValueError, OSError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
