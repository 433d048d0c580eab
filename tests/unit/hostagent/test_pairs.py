"""The state table, and the document that holds the pairs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from controller.errors import ConflictError, IntegrityError, NotDurableError, NotFoundError
from hostagent.api.models import PairState
from hostagent.attach.record import Record, Records
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


def test_a_sync_that_failed_is_made_good_when_the_same_is_given_again(
    tmp_path: Path, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = PairStore(tmp_path / "pairs.json")
    with directory_sync_fails(monkeypatch):
        for _ in range(2):
            with pytest.raises(NotDurableError):
                store.put(scene.pair)
    store.put(scene.pair)
    with directory_sync_fails(monkeypatch):
        store.put(scene.pair)  # known, and durable: nothing is written
        with pytest.raises(NotDurableError):  # an agent that begins knows what is there, not whether it lasts
            PairStore(tmp_path / "pairs.json").put(scene.pair)


def test_a_removal_that_may_come_back_is_written_again_when_it_is_given_again(
    tmp_path: Path, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = PairStore(tmp_path / "pairs.json")
    store.put(scene.pair)
    with directory_sync_fails(monkeypatch):
        for _ in range(2):
            with pytest.raises(NotDurableError):
                store.remove(scene.pair.group)
    store.remove(scene.pair.group)
    with directory_sync_fails(monkeypatch):
        store.remove(scene.pair.group)  # gone, for good: nothing is written


def test_a_generation_never_goes_down(tmp_path: Path, scene: Scene) -> None:
    store = PairStore(tmp_path / "pairs.json")
    store.put(scene.pair.model_copy(update={"generation": 3}))
    with pytest.raises(ConflictError):
        store.put(scene.pair)
    assert store.get("db").generation == 3
    store.put(scene.pair.model_copy(update={"uuid": "another"}))  # another pair of that name begins anew


DOCUMENTS: dict[str, Callable[[Path], object]] = {
    "pairs": PairStore,
    "attachments": Records,
}


@pytest.mark.parametrize("key", DOCUMENTS)
@pytest.mark.parametrize(
    ("document", "words"),
    [
        ('{"KEY": [{"size": 1, "more": 2}]}', "document PATH does not hold KEY: 0."),
        ('{"KEY": 7}', "document PATH does not hold KEY: document: input should be a valid list"),
        ('{"other": []}', "document PATH does not hold KEY: it is another document"),
        ('{"version": 0, "KEY": []}', "document PATH does not hold KEY: it is another document"),
        ('{"version": "2", "KEY": []}', "document PATH does not hold KEY: it is another document"),
        ("[]", "document PATH does not hold KEY: it is another document"),
        ('{"KEY": [', "document PATH is not JSON: "),
        ("[" * 100_000, "document PATH is not JSON: "),
        ('{"version": 2, "KEY": []}', "document PATH is of format version 2, this program reads version 1"),
    ],
)
def test_a_document_that_cannot_be_taken_is_named_in_one_line_and_left(
    tmp_path: Path, key: str, document: str, words: str
) -> None:
    path = tmp_path / "document.json"
    path.write_text(document.replace("KEY", key))
    with pytest.raises(IntegrityError) as caught:
        DOCUMENTS[key](path)
    assert caught.value.message.startswith(words.replace("KEY", key).replace("PATH", str(path)))
    assert "\n" not in caught.value.message
    assert caught.value.hint
    assert path.read_text() == document.replace("KEY", key)


@pytest.mark.parametrize("key", DOCUMENTS)
def test_a_document_without_a_version_is_of_the_first(tmp_path: Path, key: str) -> None:
    path = tmp_path / "document.json"
    path.write_text(f'{{"{key}": []}}')
    DOCUMENTS[key](path)


def test_documents_say_their_version(tmp_path: Path, scene: Scene) -> None:
    PairStore(tmp_path / "pairs.json").put(scene.pair)
    Records(tmp_path / "attachments.json").put(Record(volume="v", uri="nbd://x", method="uri", readonly=False))
    for name in ("pairs", "attachments"):
        assert json.loads((tmp_path / f"{name}.json").read_text())["version"] == 1
    assert PairStore(tmp_path / "pairs.json").all() == [scene.pair]
