"""What a pair's runner keeps: a direction is decided once, upon what was known when it was decided."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from controller.errors import ConflictError
from hostagent.api.models import PairPolicy
from hostagent.config import CopySettings
from hostagent.copy_manager.runner import PairRunner, Surroundings
from hostagent.life.turn import taken_back, turned
from hostagent.pairs import PairStore
from tests.simulation.agent import pair_of


@pytest.fixture
def runner(tmp_path: Path) -> PairRunner:
    nobody: Any = None
    store = PairStore(tmp_path / "pairs.json")
    pair = pair_of("3af27f80-2dc5-fd3d-9974-d75b333824fe", PairPolicy())
    store.put(pair)
    return PairRunner(pair, nobody, Surroundings("tokyo", CopySettings(), nobody, store, nobody, nobody))


def test_a_direction_that_was_decided_meanwhile_is_not_decided_again(runner: PairRunner) -> None:
    first = runner.pair
    served = first.model_copy(update={"taken_over": True, "generation": 2})
    runner.keep(served, first)
    runner.keep(turned(served, 2), served)
    for late in (turned(served, 2), taken_back(served, 3)):
        with pytest.raises(ConflictError, match="decided by another command"):
            runner.keep(late, served)
    assert runner.pair == turned(served, 2)


def test_what_the_manager_has_kept_and_not_yet_noted_counts(runner: PairRunner) -> None:
    first = runner.pair
    served = first.model_copy(update={"taken_over": True, "generation": 2})
    runner._around.store.put(served)
    with pytest.raises(ConflictError, match="decided by another command"):
        runner.keep(first, first)
