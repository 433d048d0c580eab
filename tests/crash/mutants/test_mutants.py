"""The mutants still fit the product: a change of that text must take its mutant along."""

from __future__ import annotations

import pytest

from tests.crash.mutants.catalogue import MUTANTS, Mutant
from tests.support.processes import PROJECT


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_mutant_applies(mutant: Mutant) -> None:
    assert (PROJECT / mutant.file).read_text().count(mutant.old) == 1
    assert mutant.new != mutant.old
