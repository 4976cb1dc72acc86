"""One worker process of a contestant: ``python -m bench.worker NAME THREADS``."""

import sys

from bench.contestant import load

if __name__ == "__main__":
    load(sys.argv[1]).serve(int(sys.argv[2]))
