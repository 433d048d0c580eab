"""The state table, and the document that holds the pairs."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.errors import ConflictError, IntegrityError, NotDurableError, NotFoundError
from hostagent.api.models import PairState
from hostagent.pairs import TRANSITIONS, PairEvent, PairStore, next_state
from tests.support.disks import directory_sync_fails
from tests.unit.hostagent.conftest import Scene


def test_every_pair_of_state_and_event_is_in_the_table_or_raises() -> None:
    for state in PairState:
        for event in PairEvent:
            if (state, event) in TRANSITIONS:
                assert next_state(state, event) is TRANSITIONS[state, event]
            else:
                with pytest.raises(ConflictError):
                    next_state(state, event)


@pytest.mark.parametrize(
    ("state", "event"),
    [
        (PairState.SSWS, PairEvent.COPYING),
        (PairState.SSWS, PairEvent.PROTECTED),
        (PairState.SSWS, PairEvent.FAILED),
        (PairState.SSWS, PairEvent.START),
        (PairState.PAIR, PairEvent.CREATE),
        (PairState.SMPL, PairEvent.TAKE_OVER),
    ],
)
def test_what_cannot_happen_is_not_in_the_table(state: PairState, event: PairEvent) -> None:
    with pytest.raises(ConflictError):
        next_state(state, event, "db")


def test_a_refused_command_says_why_and_what_to_do() -> None:
    with pytest.raises(ConflictError) as caught:
        next_state(PairState.SSWS, PairEvent.START, "db")
    assert caught.value.message == "cannot start acquisition of db: it is SSWS"
    assert "pairvol pair resync db --swap" in caught.value.hint
    assert "pairvol pair delete db" in caught.value.hint


def test_a_takeover_may_be_given_again() -> None:
    assert next_state(PairState.SSWS, PairEvent.TAKE_OVER) is PairState.SSWS


def test_pairs_survive(tmp_path: Path, scene: Scene) -> None:
    store = PairStore(tmp_path / "pairs.json")
    assert store.all() == []
    store.put(scene.pair)
    again = PairStore(tmp_path / "pairs.json")
    assert again.all() == [scene.pair]
    assert again.get("db") == scene.pair
    again.remove("db")
    again.remove("db")
    assert PairStore(tmp_path / "pairs.json").find("db") is None
    with pytest.raises(NotFoundError):
        again.get("db")


def test_what_the_agent_goes_by_is_what_a_restart_finds(
    tmp_path: Path, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = PairStore(tmp_path / "pairs.json")
    store.put(scene.pair)
    with directory_sync_fails(monkeypatch), pytest.raises(NotDurableError):
        store.put(scene.pair.model_copy(update={"generation": 3}))
    assert store.all() == PairStore(tmp_path / "pairs.json").all()


def test_a_generation_never_goes_down(tmp_path: Path, scene: Scene) -> None:
    store = PairStore(tmp_path / "pairs.json")
    store.put(scene.pair.model_copy(update={"generation": 3}))
    with pytest.raises(ConflictError):
        store.put(scene.pair)
    assert store.get("db").generation == 3
    store.put(scene.pair.model_copy(update={"uuid": "another"}))  # another pair of that name begins anew


def test_a_damaged_document_is_named_and_left(tmp_path: Path) -> None:
    path = tmp_path / "pairs.json"
    path.write_text('{"pairs": [{"group": "db"}]}')
    with pytest.raises(IntegrityError, match=r"pairs\.json does not hold pairs"):
        PairStore(path)
    assert path.read_text() == '{"pairs": [{"group": "db"}]}'
