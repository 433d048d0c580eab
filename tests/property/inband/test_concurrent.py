"""Runs of any kind over any ranges, beside any writers, in the real write path: what each record says is true."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.api.runs import Range, RunKind, RunOrder, RunPhase
from controller.volume.journaled import JournaledPath
from controller.volume.write_path import WritePath
from tests.support.inband import Account, account
from tests.support.volume_server import GroupFiles
from tests.support.waiting import wait_until

SIZES = {"data": 2 << 20, "log": 512 << 10}
BLOCK = 512
WRITES = 250

ranges = st.tuples(st.integers(0, 1), st.integers(0, 900), st.integers(1, 1000)).map(
    lambda each: Range(each[0], each[1] * BLOCK, min(each[2], 1024 - each[1]) * BLOCK)
)


def write(server: WritePath, seed: int, blocks_max: int) -> None:
    """Some writes, half of them to one corner, so that overlaps are many."""
    chance = Random(seed)
    for _ in range(WRITES):
        volume = server.volumes[chance.choice(sorted(SIZES))]
        blocks = chance.randint(1, blocks_max)
        room = volume.size_bytes // BLOCK - blocks
        offset = chance.randint(0, min(room, 64) if chance.random() < 0.5 else room) * BLOCK
        if chance.random() < 0.85:
            server.write(volume, memoryview(chance.randbytes(blocks * BLOCK)), offset, chance.random() < 0.05)
        else:
            server.zero(volume, offset, blocks * BLOCK, chance.random() < 0.5)


def run(kind: RunKind, wanted: list[Range], seed: int, writers: int, blocks_max: int) -> Account:
    with tempfile.TemporaryDirectory(prefix="pairvol-") as folder:
        files = GroupFiles(Path(folder), SIZES, 64 << 20).create()
        for name in SIZES:
            files.volume(name).write_bytes(Random(seed).randbytes(SIZES[name] // 2).ljust(SIZES[name], b"\0"))
        before = {index: files.volume(name).read_bytes() for index, name in enumerate(SIZES)}
        server = WritePath.open(files.settings)
        threads = [threading.Thread(target=write, args=(server, seed + n, blocks_max)) for n in range(writers)]
        try:
            for thread in threads:
                thread.start()
            server.order_run(RunOrder(run="r", kind=kind, ranges=wanted))
            wait_until(lambda: server.status()["run"]["phase"] == RunPhase.DONE, what="the run to end")
            for thread in threads:
                thread.join()
            path = server._path
            assert isinstance(path, JournaledPath)
            return account(path.journal, before, path.appender.sequence)
        finally:
            for thread in threads:
                thread.join()
            server.close()


@settings(max_examples=12, deadline=None)
@given(
    kind=st.sampled_from(RunKind),
    wanted=st.lists(ranges, min_size=1, max_size=6),
    seed=st.integers(0, 1 << 20),
    writers=st.integers(1, 3),
    blocks_max=st.sampled_from([1, 16, 200]),
)
def test_every_record_of_a_run_is_true_at_its_place(
    kind: RunKind, wanted: list[Range], seed: int, writers: int, blocks_max: int
) -> None:
    assert not run(kind, wanted, seed, writers, blocks_max).wrong
