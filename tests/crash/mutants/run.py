"""`make mutants`: each mistake in a copy of the tree of its own, and whether the suite that should catch it does.

    python -m tests.crash.mutants.run [WORD ...]      only mutants whose names have a WORD

Every suite is first run on an unchanged copy: one that fails there proves
nothing. A mutant is caught by a suite that ran and whose assertions failed: one
that broke off, or took too long, is an error of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from xml.etree import ElementTree

from rich.console import Console
from rich.table import Table

from tests.crash.mutants.catalogue import MUTANTS, Mutant
from tests.support.processes import PROJECT

TREE = ("controller", "hostagent", "nbd_plugin", "tests", "pyproject.toml", "systemd")
LIMIT_SECONDS = 600
PYTEST = "pytest"
JUNIT = "report.xml"
CRASH_ROWS = "build/crash.json"


class Verdict(StrEnum):
    """What came of a suite."""

    PASSED = "passes"
    FAILED = "fails"  # it ran, and what it asserts does not hold
    BROKEN = "breaks off"  # it did not run to its end, or not at all: that says nothing of a mutant


CAUGHT = {Verdict.PASSED: "NO", Verdict.FAILED: "yes", Verdict.BROKEN: "BROKE OFF"}
SAID = {Verdict.PASSED: "NOT CAUGHT", Verdict.FAILED: "caught", Verdict.BROKEN: "THE SUITE BROKE OFF"}


@dataclass(frozen=True, slots=True)
class Outcome:
    verdict: Verdict
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
    with tempfile.TemporaryDirectory(prefix="pairvol-mutant-") as directory:
        tree = Path(directory)
        copy_tree(tree)
        if mutant is not None:
            mutant.apply(tree)
        return run_in(tree, suite)


def run_in(tree: Path, suite: tuple[str, ...], limit_seconds: float = LIMIT_SECONDS) -> Outcome:
    """Run a suite (arguments of python) in a tree."""
    began = time.monotonic()
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    report = ("--junitxml", str(tree / JUNIT)) if PYTEST in suite else ()
    try:
        ended = subprocess.run(
            [sys.executable, *suite, *report],
            cwd=tree,
            env=environment,
            capture_output=True,
            text=True,
            timeout=limit_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Outcome(Verdict.BROKEN, time.monotonic() - began, f"no end within {limit_seconds:g} s")
    verdict = Verdict.PASSED
    if ended.returncode != 0:
        found = ended.returncode == 1 and (_failed_tests(tree) if report else _lost_rows(tree))
        verdict = Verdict.FAILED if found else Verdict.BROKEN
    lines = [line for line in (ended.stdout + ended.stderr).splitlines() if line.strip()]
    return Outcome(verdict, time.monotonic() - began, "\n".join(lines[-40:]))


def _failed_tests(tree: Path) -> bool:
    """Whether pytest reports tests that failed; a fixture or an import that failed is an error there, and none."""
    try:
        return next(ElementTree.parse(tree / JUNIT).iter("failure"), None) is not None
    except (OSError, ElementTree.ParseError):
        return False


def _lost_rows(tree: Path) -> bool:
    """Whether the rows of a crash suite count something lost; one that broke off counts nothing."""
    try:
        rows = json.loads((tree / CRASH_ROWS).read_text())
    except (OSError, ValueError):
        return False
    return any(row["lost"] or row["order_violations"] for row in rows)


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
        console.print(f"unchanged: python {' '.join(suite)}: {outcome.verdict}", highlight=False)
        if outcome.verdict is not Verdict.PASSED:
            missed += 1
            console.print(outcome.words, highlight=False, markup=False)
    table = Table("mutant", "suite", "caught", "seconds", title="mutants")
    for mutant in wanted:
        outcome = run_suite(mutant.suite, mutant)
        caught = outcome.verdict is Verdict.FAILED
        missed += not caught
        table.add_row(
            mutant.name,
            " ".join(mutant.suite[1:]),
            CAUGHT[outcome.verdict],
            f"{outcome.seconds:.0f}",
            style="" if caught else "bold red",
        )
        console.print(f"{mutant.name}: {SAID[outcome.verdict]}: {reason(outcome.words)}", highlight=False, markup=False)
        if outcome.verdict is Verdict.BROKEN:
            console.print(outcome.words, highlight=False, markup=False)
    console.print(table)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
