"""A document is replaced whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller import durable
from controller.errors import IntegrityError, NotDurableError, NotFoundError, StorageError
from tests.support.disks import directory_sync_fails


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    durable.write_json(path, {"a": [1, 2]})
    durable.write_json(path, {"a": [3]})
    assert durable.read_json(path) == {"a": [3]}
    assert [entry.name for entry in tmp_path.iterdir()] == ["state.json"]


def test_a_refused_write_keeps_the_old_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.json"
    durable.write_json(path, "old")

    def refuse(_descriptor: int) -> None:
        raise OSError(5, "input/output error")

    monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(StorageError, match="input/output error"):
        durable.write_json(path, "new")
    assert durable.read_json(path) == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["state.json"]


def test_absent_and_damaged_documents_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        durable.read_json(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text('{"half":')
    with pytest.raises(IntegrityError, match="is not JSON"):
        durable.read_json(tmp_path / "bad.json")


def test_removing_twice_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    durable.remove(tmp_path / "a")
    durable.remove(tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_a_sync_of_the_directory_that_fails_is_told_apart_from_a_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.json"
    durable.write_json(path, "old")
    with directory_sync_fails(monkeypatch), pytest.raises(NotDurableError, match="input/output error") as refused:
        durable.write_json(path, "new")
    assert "nothing was changed" not in refused.value.hint
    assert durable.read_json(path) == "new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["state.json"]


def test_a_removal_given_again_syncs_the_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_text("x")
    with directory_sync_fails(monkeypatch):
        for _ in range(2):
            with pytest.raises(NotDurableError, match="cannot remove"):
                durable.remove(path)
    durable.remove(path)
    durable.remove(tmp_path / "no" / "directory")
