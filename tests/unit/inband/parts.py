"""A group with something in its volumes, threads that write to it, and how a run there ended."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from controller.api.runs import RunPhase, RunState
from controller.journal.volume import JournalVolume
from controller.volume.journaled import JournaledPath
from controller.volume.write_path import WritePath
from tests.support.volume_server import GroupFiles
from tests.support.waiting import wait_until

MIB = 1 << 20
SIZES = {"data": 4 * MIB, "log": MIB}


def contents(files: GroupFiles) -> dict[int, bytes]:
    return {index: files.volume(name).read_bytes() for index, name in enumerate(SIZES)}


def ended(server: WritePath, run: str) -> RunState:
    def done() -> RunState | None:
        state = server._runs.state() if server._runs else None
        assert state is None or state.phase is not RunPhase.FAILED, state
        return state if state is not None and state.run == run and state.phase is RunPhase.DONE else None

    found = wait_until(done, what=f"the end of run {run}")
    assert found is not None
    return found


def journal_of(server: WritePath) -> JournalVolume:
    assert isinstance(server._path, JournaledPath)
    return server._path.journal


def last(server: WritePath) -> int:
    assert isinstance(server._path, JournaledPath)
    return server._path.appender.sequence


@contextmanager
def writers(server: WritePath, count: int = 3) -> Iterator[None]:
    """Threads that write, zero and trim everywhere, mostly in small places, until the block ends."""
    stop = threading.Event()
    failures: list[BaseException] = []

    def main(number: int) -> None:
        chance = random.Random(number)
        try:
            while not stop.wait(0.001):  # else the journal would be full before the run is done
                volume = server.volumes[chance.choice(["data", "data", "log"])]
                blocks = chance.choice([1, 8, 8, 64, 100])
                offset = chance.randrange(volume.size_bytes // 512 - blocks) * 512
                if chance.random() < 0.9:
                    server.write(volume, memoryview(chance.randbytes(blocks * 512)), offset)
                else:
                    server.zero(volume, offset, blocks * 512, chance.random() < 0.5)
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=main, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        assert not failures
