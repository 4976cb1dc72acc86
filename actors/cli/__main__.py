"""``python -m actors.cli``: the command line where its script is not installed.

The demo and the tests start commands this way.
"""

import sys

from actors.cli import main

if __name__ == "__main__":
    sys.exit(main())
