"""The secondary killed at system calls of its data path: it goes on, and its SVOL is always a prefix.

Only the process dies here, so what it wrote stays in the page cache; power
cuts are another suite's. strace kills at the N-th call of one kind.
"""

from __future__ import annotations

import shutil
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.api.models import CopyOrder, CopyState, InitialCopyOrder
from controller.journal.layout import BLOCK_BYTES, Flag
from controller.journal.pointers import Pointer
from tests.integration.copy.sites import JournalServer, Secondary, source_at
from tests.support.processes import PROJECT, Processes
from tests.support.waiting import wait_until
from tests.unit.copy.parts import Primary, block, content, follow, initial

SIZES = {0: 2 << 20, 7: 1 << 19}
JOURNAL_POINTS = [("fdatasync", n) for n in (1, 2, 3, 5, 8)] + [
    ("pwritev", 1),
    ("pwritev", 9),
    ("pwritev", 80),
    ("fallocate", 2),
    ("fallocate", 9),
]
INITIAL_POINTS = [("fdatasync", 2), ("fdatasync", 6), ("pwrite64", 1), ("rename", 1), ("rename", 2), ("rename", 3)]


class History:
    """A primary, and the images of its volumes after each journal; the first has no journals."""

    def __init__(self, primary: Primary) -> None:
        self.primary = primary
        for index, volume in primary.volumes.items():
            volume[8192 : len(volume) // 2] = block(index + 1, (len(volume) // 2 - 8192) // BLOCK_BYTES)
        self.images = [self._image()]
        for number in range(1, 401):
            self._write(number)
            self.images.append(self._image())
        primary.commit()

    def _image(self) -> dict[int, bytes]:
        return {index: bytes(volume) for index, volume in self.primary.volumes.items()}

    def _write(self, number: int) -> None:
        volume = 7 if number % 5 == 0 else 0
        blocks = 1 + number * 5 % 16
        lba = number * 40503 % (SIZES[volume] // BLOCK_BYTES - blocks)
        if number % 11 == 0:
            self.primary.clear(volume, lba, blocks, Flag.TRIM)
        else:
            self.primary.write(volume, lba, block(number, blocks))


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    primary = Primary(tmp_path / "primary", 3 << 20, SIZES)
    yield History(primary)
    primary.close()


@pytest.fixture
def server(history: History, processes: Processes) -> JournalServer:
    for index, image in history.images[-1].items():
        (history.primary.directory / f"pvol{index}").write_bytes(image)
    return JournalServer(processes, history.primary.directory)


def run_until_killed(
    directory: Path, order: CopyOrder | InitialCopyOrder, target: int, call: str, number: int, processes: Processes
) -> bool:
    """Whether the call was reached, and the process killed at it."""
    inject = ["strace", "-f", "-qq", "-o", str(directory / "trace"), "-e", f"trace={call}"]
    inject += ["-e", f"inject={call}:signal=KILL:when={number}"]
    child = [sys.executable, "-m", "tests.integration.copy.child", str(directory), order.model_dump_json(), str(target)]
    process = processes.start([*inject, *child], "child", {"PYTHONPATH": str(PROJECT)})
    code = process.wait(90)
    log = processes.log("child")
    assert code in (0, -signal.SIGKILL, 128 + signal.SIGKILL), log
    assert "failed" not in log, log
    return code != 0


@pytest.mark.crash
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed: run make tools as root")
def test_killed_while_it_follows(tmp_path: Path, history: History, server: JournalServer, processes: Processes) -> None:
    order = follow(source_at(history.primary, server.uri))
    last = history.primary.end.sequence
    hits: Counter[bool] = Counter()
    for call, number in JOURNAL_POINTS:
        directory = tmp_path / f"{call}-{number}"
        secondary = Secondary(directory, SIZES, 1 << 20)
        for index, image in history.images[0].items():
            secondary.svols[index].pwrite(image, 0)
        secondary.close()
        hits[run_until_killed(directory, order, last, call, number, processes)] += 1
        shutil.copytree(directory, directory / "taken")
        taken = Secondary.reopen(directory / "taken")
        restored = taken.group.finish_restore().sequence
        assert restored == taken.pointer(Pointer.ALREADY_READ)
        assert taken.equals(history.images[restored]), f"not a prefix after a kill at {call} {number}"
        taken.close()
        secondary = Secondary.reopen(directory)
        secondary.group.order_copy(order)
        secondary.wait_restored(last)
        assert secondary.equals(history.images[-1]), f"not equal after a kill at {call} {number}"
        secondary.close()
    print(f"killed at {hits[True]} of {hits.total()} points, {hits[False]} not reached")
    assert hits[True] >= hits.total() // 2


@pytest.mark.crash
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed: run make tools as root")
def test_killed_during_the_initial_copy(
    tmp_path: Path, history: History, server: JournalServer, processes: Processes
) -> None:
    order = initial(source_at(history.primary, server.uri, {index: f"pvol{index}" for index in SIZES}))
    last = history.primary.end.sequence
    hits: Counter[bool] = Counter()
    for call, number in INITIAL_POINTS:
        directory = tmp_path / f"{call}-{number}"
        Secondary(directory, SIZES, 1 << 20).close()
        hits[run_until_killed(directory, order, last, call, number, processes)] += 1
        secondary = Secondary.reopen(directory)
        secondary.group.order_copy(follow(order.source))
        secondary.group.order_initial_copy(order)
        wait_until(lambda s=secondary: s.group.snapshot().initial_copy.state is CopyState.DONE)  # type: ignore[misc]
        secondary.wait_restored(last)
        assert secondary.equals(history.images[-1]), f"not equal after a kill at {call} {number}"
        assert secondary.group.snapshot().consistent_sequence == last
        secondary.close()
    print(f"killed at {hits[True]} of {hits.total()} points, {hits[False]} not reached")
    assert hits[True] >= hits.total() // 2
    assert content(secondary.svols[0])[8192:8200] != bytes(8)
