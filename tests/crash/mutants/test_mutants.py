"""The mutants still fit the product, and only a suite that ran and failed has caught one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.mutants.catalogue import MUTANTS, Mutant
from tests.crash.mutants.run import Verdict, run_in
from tests.support.processes import PROJECT


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_mutant_applies(mutant: Mutant) -> None:
    for old, new in mutant.changes:
        assert (PROJECT / mutant.file).read_text().count(old) == 1
        assert new != old


PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py")
CRASH = ("-m", "suite")
ROWS = """
import json, pathlib, sys
pathlib.Path("build").mkdir()
pathlib.Path("build/crash.json").write_text(json.dumps([{"lost": %d, "order_violations": 0}]))
sys.exit(%d)
"""


@pytest.mark.parametrize(
    ("suite", "text", "verdict"),
    [
        (PYTEST, "def test(): assert True", Verdict.PASSED),
        (PYTEST, "def test(): assert False", Verdict.FAILED),
        (PYTEST, "import nothing_of_that_name", Verdict.BROKEN),
        (PYTEST, "def test(it): pass", Verdict.BROKEN),
        (PYTEST, "import os\ndef test(): os._exit(1)", Verdict.BROKEN),
        (PYTEST, "import threading\ndef test(): threading.Event().wait()", Verdict.BROKEN),
        (CRASH, ROWS % (0, 0), Verdict.PASSED),
        (CRASH, ROWS % (3, 1), Verdict.FAILED),
        (CRASH, ROWS % (0, 1), Verdict.BROKEN),
        (CRASH, ROWS % (3, 2), Verdict.BROKEN),
        (CRASH, "import nothing_of_that_name", Verdict.BROKEN),
    ],
)
def test_only_a_suite_that_ran_and_failed_has_caught_something(
    tmp_path: Path, suite: tuple[str, ...], text: str, verdict: Verdict
) -> None:
    (tmp_path / ("test_it.py" if suite is PYTEST else "suite.py")).write_text(text)
    limit_seconds = 4 if "wait()" in text else 60
    assert run_in(tmp_path, suite, limit_seconds).verdict is verdict
