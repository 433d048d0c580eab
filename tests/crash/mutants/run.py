"""`make mutants`: each mistake in a copy of the tree of its own, and whether the suite that should catch it does.

    python -m tests.crash.mutants.run [WORD ...]      only mutants whose names have a WORD

Every suite is first run on an unchanged copy: one that fails there proves
nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.crash.mutants.catalogue import MUTANTS, Mutant
from tests.support.processes import PROJECT

TREE = ("controller", "hostagent", "nbd_plugin", "tests", "pyproject.toml", "systemd")
LIMIT_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Outcome:
    failed: bool
    seconds: float
    words: str  # the last lines that the suite said


def copy_tree(target: Path) -> None:
    """What the suites need of the project, without what tools left there."""
    for name in TREE:
        source = PROJECT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        elif source.exists():
            shutil.copy2(source, target / name)


def run_suite(suite: tuple[str, ...], mutant: Mutant | None) -> Outcome:
    """Run a suite on a copy of the tree, changed or not."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="pairvol-mutant-") as directory:
        tree = Path(directory)
        copy_tree(tree)
        if mutant is not None:
            mutant.apply(tree)
        environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
        try:
            ended = subprocess.run(
                [sys.executable, *suite],
                cwd=tree,
                env=environment,
                capture_output=True,
                text=True,
                timeout=LIMIT_SECONDS,
                check=False,
            )
            failed, said = ended.returncode != 0, ended.stdout + ended.stderr
        except subprocess.TimeoutExpired:
            failed, said = True, f"no end within {LIMIT_SECONDS} s"
    lines = [line for line in said.splitlines() if line.strip()]
    return Outcome(failed, time.monotonic() - began, "\n".join(lines[-40:]))


def reason(words: str) -> str:
    """The line by which a suite says what it found: a person must see that it was the mistake, and not a crash."""
    for line in words.splitlines():
        if line.startswith(("seed ", "codec ", "copy ", "recovery ", "E  ", "EIO ")):
            return line.strip()
    return words.splitlines()[-1] if words else ""


def main() -> int:
    wanted = [m for m in MUTANTS if not sys.argv[1:] or any(word in m.name for word in sys.argv[1:])]
    console = Console()
    missed = 0
    for suite in dict.fromkeys(mutant.suite for mutant in wanted):
        outcome = run_suite(suite, None)
        console.print(
            f"unchanged: python {' '.join(suite)}: {'FAILS' if outcome.failed else 'passes'}", highlight=False
        )
        if outcome.failed:
            missed += 1
            console.print(outcome.words, highlight=False, markup=False)
    table = Table("mutant", "suite", "caught", "seconds", title="mutants")
    for mutant in wanted:
        outcome = run_suite(mutant.suite, mutant)
        missed += not outcome.failed
        table.add_row(
            mutant.name,
            " ".join(mutant.suite[1:]),
            "yes" if outcome.failed else "NO",
            f"{outcome.seconds:.0f}",
            style="" if outcome.failed else "bold red",
        )
        found = f"caught: {reason(outcome.words)}" if outcome.failed else "NOT CAUGHT"
        console.print(f"{mutant.name}: {found}", highlight=False, markup=False)
    console.print(table)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
