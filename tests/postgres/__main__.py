"""`make postgres`: a PostgreSQL server through planned and forced takeovers and back.

python -m tests.postgres [--takeovers N] [--seed S]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from tests.conftest import missing_for_root_tests
from tests.postgres.cluster import missing
from tests.postgres.suite import run
from tests.support.leftovers import leftovers


def main() -> int:
    parser = argparse.ArgumentParser(prog="make postgres", description=__doc__, allow_abbrev=False)
    parser.add_argument("--takeovers", type=int, default=20)
    parser.add_argument("--seed", type=int, default=int(time.time()) % 100_000)
    arguments = parser.parse_args()
    if why := missing_for_root_tests() or missing():
        print(f"postgres: cannot run: {why}", file=sys.stderr)
        return 2
    began = time.monotonic()
    print(f"postgres: seed {arguments.seed}, {arguments.takeovers} takeovers", flush=True)
    with tempfile.TemporaryDirectory(prefix="pairvol-", dir=os.environ.get("TMPDIR")) as directory:
        row = run(arguments.seed, arguments.takeovers, Path(directory), lambda line: print(line, flush=True))
        for left in leftovers([Path(directory)]):
            row.lose(f"left behind: {left}")
    print(f"{row}\n{time.monotonic() - began:.0f} s")
    return 0 if row.holds else 1


if __name__ == "__main__":
    sys.exit(main())
