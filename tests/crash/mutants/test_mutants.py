"""The mutants still fit the product: a change of that text must take its mutant along."""

from __future__ import annotations

import pytest

from tests.crash.mutants.catalogue import MUTANTS, Mutant
from tests.support.processes import PROJECT


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_mutant_applies(mutant: Mutant) -> None:
    for old, new in mutant.changes:
        assert (PROJECT / mutant.file).read_text().count(old) == 1
        assert new != old
