"""What a person is told by an agent that has heard words which do not fit together."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from controller.api.models import JournalState
from hostagent.api.models import Exchange, ExchangeAnswer
from hostagent.config import CopySettings
from hostagent.copy_manager.runner import PairRunner, Surroundings
from hostagent.pairs import PairStore
from tests.unit.hostagent.conftest import Scene


class Other:
    """The agent of osaka, and the controller of tokyo."""

    def __init__(self, scene: Scene) -> None:
        self.scene, self.asked = scene, 0

    def exchange(self, told: Exchange, seconds: float) -> ExchangeAnswer:
        self.asked += 1
        return self.word()

    def word(self) -> ExchangeAnswer:
        return ExchangeAnswer(site="osaka", pair=self.scene.pair, state=self.scene.secondary.state(self.scene.now))

    def driving(self, token: str | None) -> Other:
        return self

    def state(self, group: str, after: int | None, wait_seconds: float) -> JournalState:
        return self.scene.primary.state(self.scene.now)


def test_a_status_asks_when_words_of_the_other_site_leave_a_doubt(scene: Scene, tmp_path: Path) -> None:
    other = cast(Any, Other(scene))
    around = Surroundings("tokyo", CopySettings(), other, PairStore(tmp_path / "pairs.json"), *cast(Any, (None, None)))
    runner = PairRunner(scene.pair, other, around)
    late = other.word()
    scene.now, scene.secondary.boots = scene.now + 1, 2
    runner.status()
    for word in (other.word(), late, other.word()):
        runner.heard(Exchange(**dict(word)))
    asked = other.asked
    runner.status()
    runner.status()
    assert other.asked == asked + 1
