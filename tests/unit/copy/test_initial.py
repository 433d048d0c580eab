"""The initial copy: durable at the primary before it lands here, holes stay holes, the cursor never lies."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from controller.api.models import CopySource, CopyState
from controller.copy.in_flight import Range
from controller.copy.initial import WINDOW_BYTES_MAX, InitialCopyRun
from controller.copy.progress import Progress, load, store
from controller.errors import ConflictError, IntegrityError, PeerError, StorageError
from controller.restore.targets import Targets
from controller.volume.backing import Backing
from tests.unit.copy.parts import FileLink, Primary, block, content, initial, svol

MIB = 1 << 20
SIZES = {0: 40 * MIB, 4: 3 * MIB}


@dataclass
class Copying:
    directory: Path
    primary: Primary
    svols: dict[int, Backing]
    saved: list[Progress] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.targets = Targets(self.svols)

    def pvol(self, index: int) -> Path:
        return self.directory / f"pvol{index}"

    def source(self) -> CopySource:
        return self.primary.source(volume_uris={str(index): str(self.pvol(index)) for index in SIZES})

    def run(self, progress: Progress | None = None) -> InitialCopyRun:
        source = self.source()
        progress = progress or Progress().begin(initial(source))
        return InitialCopyRun(progress, source, self.targets, self.saved.append, link_type=FileLink)

    def equal(self) -> bool:
        return all(content(self.svols[index]) == self.pvol(index).read_bytes() for index in SIZES)


@pytest.fixture
def copying(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Copying]:
    monkeypatch.setattr(FileLink, "calls", [])
    primary = Primary(tmp_path / "primary", MIB, SIZES)
    svols = {index: svol(tmp_path / f"svol{index}", size) for index, size in SIZES.items()}
    copying = Copying(tmp_path, primary, svols)
    for index, size in SIZES.items():
        with copying.pvol(index).open("wb") as file:
            file.truncate(size)
    write(copying.pvol(0), MIB, os.urandom(2 * MIB))
    write(copying.pvol(0), 20 * MIB, os.urandom(19 * MIB))
    write(copying.pvol(4), 3 * MIB - 512, block(5))
    yield copying
    for backing in svols.values():
        backing.close()
    primary.close()


def write(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def finish(run: InitialCopyRun) -> None:
    while run.step():
        pass
    run.close()


def test_all_volumes_are_copied_and_holes_are_not_read(copying: Copying) -> None:
    copying.primary.write(0, 0, block(1))
    copying.primary.commit()
    run = copying.run()
    finish(run)
    assert copying.equal()
    assert run.progress.state is CopyState.DONE
    assert run.progress.bytes_done == sum(SIZES.values())
    assert run.progress.bytes_copied == 21 * MIB + 4096  # a file system allocates whole pages
    assert run.progress.consistent_sequence == 1
    assert copying.saved[-1] == run.progress
    assert os.stat(copying.svols[0].path).st_blocks * 512 < 22 * MIB


def test_used_svol_loses_what_the_pvol_does_not_have(copying: Copying) -> None:
    for backing in copying.svols.values():
        backing.pwrite(os.urandom(3 * MIB), 0)
    copying.svols[0].pwrite(os.urandom(MIB), 10 * MIB)
    finish(copying.run())
    assert copying.equal()


def test_flushed_at_the_primary_between_read_and_write(copying: Copying, monkeypatch: pytest.MonkeyPatch) -> None:
    def noted(backing: Backing, name: str) -> None:
        honest = getattr(backing, name)

        def call(*arguments: object) -> None:
            FileLink.calls.append(("write", Path(backing.path).name.replace("svol", "pvol")))
            honest(*arguments)

        monkeypatch.setattr(backing, name, call)

    for backing in copying.svols.values():
        backing.pwrite(block(9), 0)  # something to punch
        noted(backing, "pwrite")
        noted(backing, "punch")
    finish(copying.run())
    for index in SIZES:
        calls = [kind for kind, name in FileLink.calls if name == f"pvol{index}" and kind != "size"]
        windows = "".join(kind[0] for kind in calls).split("e")[1:]
        assert len(windows) >= 2 if index == 0 else 1
        assert all(window == "r" or window.startswith("rfw") for window in windows[:-1]), windows
        assert windows[-1].endswith("wf"), "one more flush at the end"
    assert FileLink.calls[-1] == ("read", "pointers")


def test_lock_is_held_from_before_the_read_until_the_write(copying: Copying, monkeypatch: pytest.MonkeyPatch) -> None:
    entered: list[bool] = []
    intruders: list[threading.Thread] = []
    honest = FileLink.read_ranges

    def restore() -> None:
        with copying.targets.lock:
            entered.append(True)

    def read_ranges(link: FileLink, ranges: Iterable[Range]) -> None:
        if "pvol" in link.uri:
            intruders.append(threading.Thread(target=restore))
            before = len(entered)
            intruders[-1].start()
            honest(link, ranges)
            intruders[-1].join(0.05)
            assert len(entered) == before
        else:
            honest(link, ranges)

    monkeypatch.setattr(FileLink, "read_ranges", read_ranges)
    finish(copying.run())
    for intruder in intruders:
        intruder.join(20)
    assert len(entered) == len(intruders) >= 3


def test_goes_on_at_the_stored_cursor(copying: Copying, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.copy.initial.SAVE_SECONDS", 0.0)
    run = copying.run()
    for _ in range(2):
        assert run.step()
    run.close()
    stored = copying.saved[-1]
    assert 0 < stored.bytes_done < SIZES[0]
    expected = content(copying.svols[0])[: stored.bytes_done]
    copying.svols[0].pwrite(bytes(MIB), SIZES[0] - MIB)  # beyond the cursor anything may have been lost
    write(copying.pvol(0), 0, block(1))  # before the cursor the journals bring what changes
    finish(copying.run(stored))
    assert content(copying.svols[0])[: stored.bytes_done] == expected
    assert content(copying.svols[0])[stored.bytes_done :] == copying.pvol(0).read_bytes()[stored.bytes_done :]


def test_cursor_is_stored_after_the_sync(copying: Copying, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.copy.initial.SAVE_SECONDS", 0.0)
    order: list[str] = []
    honest = copying.targets.sync
    run = copying.run()

    def sync(epoch: int, volumes: Iterable[int]) -> None:
        order.append(f"sync {run.progress.bytes_done}")
        honest(epoch, volumes)

    monkeypatch.setattr(copying.targets, "sync", sync)
    monkeypatch.setattr(run, "_save_progress", lambda progress: order.append(f"save {progress.bytes_done}"))
    finish(run)
    for earlier, later in zip(order[:-1:2], order[1:-1:2], strict=True):
        assert (earlier.split()[0], later.split()[0]) == ("sync", "save")
        assert earlier.split()[1] == later.split()[1]
    assert order[-1] == f"save {sum(SIZES.values())}"


def test_refused_sync_moves_no_cursor(copying: Copying, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(copying.svols[0], "sync", refuse)
    with pytest.raises(StorageError):
        finish(copying.run())
    assert copying.saved == []


def test_dead_link_in_the_middle_is_gone_on_from(copying: Copying, monkeypatch: pytest.MonkeyPatch) -> None:
    run = copying.run()
    run.step()
    done = run.progress.bytes_done
    with monkeypatch.context() as patch:
        patch.setattr(FileLink, "broken", True)
        with pytest.raises(PeerError):
            run.step()
    assert run.progress.bytes_done == done
    finish(run)
    assert copying.equal()


def test_volumes_of_different_size_are_refused(copying: Copying) -> None:
    os.truncate(copying.pvol(0), SIZES[0] + 512)
    with pytest.raises(ConflictError, match=f"its SVOL {SIZES[0]}"):
        copying.run().step()
    source = copying.source()
    source.links.volume_uris.pop("0")
    with pytest.raises(ConflictError, match="no address for volume 0"):
        InitialCopyRun(Progress(), source, copying.targets, copying.saved.append, link_type=FileLink).step()


def test_windows_shrink_on_a_slow_link(copying: Copying, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.copy.initial.WINDOW_SECONDS", 0.0)
    run = copying.run()
    before = run.progress.bytes_copied
    sizes = []
    while run.step():
        sizes.append(run.progress.bytes_copied - before)
        before = run.progress.bytes_copied
    assert sizes[0] <= WINDOW_BYTES_MAX
    assert sizes[-5] == 256 << 10


def test_progress_survives_and_damage_is_named(copying: Copying, tmp_path: Path) -> None:
    path = tmp_path / "progress.json"
    assert load(path) == Progress()
    progress = Progress().begin(initial(copying.source())).moved(5, 3).complete(9)
    store(path, progress)
    assert load(path) == progress
    assert progress.same_source(initial(copying.source()))
    path.write_text('{"state": "running"}')
    with pytest.raises(IntegrityError, match="cannot be read"):
        load(path)
