"""The state document: durable before it is shown, never half changed, never someone else's."""

from __future__ import annotations

import errno
import json
import os
import threading
from pathlib import Path

import pytest

from controller import durable
from controller.api.models import GroupVolume, Role
from controller.errors import ConflictError, IntegrityError, NotDurableError, NotFoundError, StorageError
from controller.state import GroupRecord, StateStore, VolumeRecord
from tests.support.disks import directory_sync_fails


def volume(name: str) -> VolumeRecord:
    return VolumeRecord(name=name, uuid="u", size_bytes=512, backing=f"/{name}", owned=True)


def group(name: str, *volumes: str) -> GroupRecord:
    members = [GroupVolume(index=index, name=each, size_bytes=512) for index, each in enumerate(volumes)]
    return GroupRecord(
        name=name,
        uuid="u",
        role=Role.PRIMARY,
        generation=1,
        peer_site="osaka",
        volumes=members,
        journal_path="/j",
        journal_bytes=512,
        journal_pool="p1",
        journal_port=1001,
    )


def test_a_change_is_there_after_opening_again(tmp_path: Path) -> None:
    store = StateStore.open(tmp_path / "state.json", "tokyo")
    with store.change() as document:
        document.volumes["a"] = volume("a")
        document.groups["db"] = group("db", "a")
    again = StateStore.open(tmp_path / "state.json", "tokyo").document
    assert again == store.document
    found = again.group_of("a")
    assert found is not None
    assert found.name == "db"
    assert again.group_of("b") is None
    assert again.ports() == {1001}
    assert again.pool_user("p1") == found
    with pytest.raises(NotFoundError, match="volume b does not exist at tokyo"):
        again.volume("b")


def test_a_change_that_fails_leaves_everything_as_it_was(tmp_path: Path) -> None:
    store = StateStore.open(tmp_path / "state.json", "tokyo")
    before = store.document

    def fail() -> None:
        with store.change() as document:
            document.volumes["a"] = volume("a")
            raise ConflictError("no")

    with pytest.raises(ConflictError):
        fail()
    assert store.document is before
    assert before.volumes == {}


def test_a_change_that_the_disk_refuses_is_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = StateStore.open(tmp_path / "state.json", "tokyo")

    def refuse(path: object, content: object) -> None:
        raise StorageError("the disk is full")

    monkeypatch.setattr(durable, "write_bytes", refuse)

    def change() -> None:
        with store.change() as document:
            document.volumes["a"] = volume("a")

    with pytest.raises(StorageError):
        change()
    assert store.document.volumes == {}


def add_volume(store: StateStore, name: str) -> None:
    with store.change() as document:
        document.volumes[name] = volume(name)


def test_a_document_whose_name_may_not_last_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = StateStore.open(tmp_path / "state.json", "tokyo")
    add_volume(store, "a")
    with directory_sync_fails(monkeypatch, times=1), pytest.raises(StorageError, match="input/output error") as refused:
        add_volume(store, "b")
    assert type(refused.value) is StorageError, "nothing was changed, for good"
    assert list(store.document.volumes) == ["a"]
    assert StateStore.open(tmp_path / "state.json", "tokyo").document == store.document
    add_volume(store, "b")


@pytest.mark.parametrize("kept", [True, False], ids=["only not synced", "not to be written any more"])
def test_what_is_shown_is_what_a_restart_takes_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: bool) -> None:
    """The disk goes on refusing: also what was before is not put back durably, or not at all."""
    store = StateStore.open(tmp_path / "state.json", "tokyo")
    add_volume(store, "a")
    rename, renamed = os.rename, 0

    def once(source: str, target: str) -> None:
        nonlocal renamed
        renamed += 1
        if renamed > 1 and not kept:
            raise OSError(errno.EROFS, "Read-only file system")
        rename(source, target)

    with directory_sync_fails(monkeypatch), monkeypatch.context() as broken:
        broken.setattr(os, "rename", once)
        with pytest.raises(NotDurableError, match="input/output error"):
            add_volume(store, "b")
    assert list(store.document.volumes) == (["a"] if kept else ["a", "b"])
    assert StateStore.open(tmp_path / "state.json", "tokyo").document == store.document
    add_volume(store, "c")
    assert StateStore.open(tmp_path / "state.json", "tokyo").document == store.document


def test_changes_of_many_threads_are_all_kept(tmp_path: Path) -> None:
    store = StateStore.open(tmp_path / "state.json", "tokyo")

    def add(name: str) -> None:
        with store.change() as document:
            document.volumes[name] = volume(name)

    threads = [threading.Thread(target=add, args=(f"v{number}",)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(StateStore.open(tmp_path / "state.json", "tokyo").document.volumes) == 16


def test_a_damaged_or_foreign_state_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    for content, kind, words in (
        ("{", IntegrityError, "is not JSON"),
        ("[]", IntegrityError, "is of format version None"),
        (json.dumps({"version": 2, "site": "tokyo"}), IntegrityError, "is of format version 2, this program"),
        (
            json.dumps({"version": 1, "site": "tokyo", "volumes": {"a": {}}}),
            IntegrityError,
            r"cannot be understood at volumes\.a",
        ),
        (json.dumps({"version": 1, "site": "osaka"}), ConflictError, "belongs to site osaka, not to tokyo"),
    ):
        path.write_text(content)
        with pytest.raises(kind, match=words):
            StateStore.open(path, "tokyo")
        assert path.read_text() == content
