"""A real server against byte arrays, over libnbd: two connections, a ring that wraps, kill -9 in the middle.

The test plays the controller too: it confirms journals, so that the ring is
used again and again; when it does not in time, the group suspends and goes on.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from pathlib import Path

import nbd
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from tests.support.processes import Processes
from tests.support.volume_server import GroupFiles, start_volume_server

SIZES = {"data": 2 << 20, "log": 1 << 20}
BLOCK = 512
names = st.sampled_from(sorted(SIZES))
connections = st.integers(0, 1)
places = st.one_of(st.integers(0, 4095), st.integers(0, 511).map(lambda page: page * 8))
lengths = st.one_of(st.integers(1, 20), st.sampled_from([8, 16, 64, 256, 1024]))
seeds = st.integers(0, 1 << 30)


class ServerMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="pairvol-"))
        self.processes = Processes(self.folder / "logs")
        self.files = GroupFiles(self.folder, SIZES, 1 << 20, full_wait_seconds=0.3).create()
        self.models = {name: bytearray(size) for name, size in SIZES.items()}
        self._start()

    @rule(name=names, connection=connections, block=places, blocks=lengths, seed=seeds, fua=st.booleans())
    def write(self, name: str, connection: int, block: int, blocks: int, seed: int, fua: bool) -> None:
        offset, count = self._span(name, block, blocks)
        data = random.Random(seed).randbytes(count)
        self.handles[name][connection].pwrite(data, offset, nbd.CMD_FLAG_FUA if fua else 0)
        self.models[name][offset : offset + count] = data

    @rule(name=names, connection=connections, block=places, blocks=lengths, no_hole=st.booleans(), fua=st.booleans())
    def zero(self, name: str, connection: int, block: int, blocks: int, no_hole: bool, fua: bool) -> None:
        offset, count = self._span(name, block, blocks)
        flags = (nbd.CMD_FLAG_NO_HOLE if no_hole else 0) | (nbd.CMD_FLAG_FUA if fua else 0)
        self.handles[name][connection].zero(count, offset, flags)
        self.models[name][offset : offset + count] = bytes(count)

    @rule(name=names, connection=connections, block=places, blocks=lengths)
    def trim(self, name: str, connection: int, block: int, blocks: int) -> None:
        offset, count = self._span(name, block, blocks)
        self.handles[name][connection].trim(count, offset)
        self.models[name][offset : offset + count] = bytes(count)

    @rule(name=names, seed=seeds, count=st.integers(2, 40))
    def burst(self, name: str, seed: int, count: int) -> None:
        """Many writes under way on both connections, each to pages of its own."""
        chooser = random.Random(seed)
        pages = chooser.sample(range(SIZES[name] // 4096), count)
        under_way = []
        for number, page in enumerate(pages):
            data = chooser.randbytes(4096)
            handle = self.handles[name][number % 2]
            under_way.append((handle, handle.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(data)), page * 4096)))
            self.models[name][page * 4096 : (page + 1) * 4096] = data
        for handle, cookie in under_way:
            while not handle.aio_command_completed(cookie):
                handle.poll(10_000)

    @rule(name=names, connection=connections, block=places, blocks=lengths)
    def read(self, name: str, connection: int, block: int, blocks: int) -> None:
        offset, count = self._span(name, block, blocks)
        assert self.handles[name][connection].pread(count, offset) == self.models[name][offset : offset + count]

    @rule(name=names, connection=connections)
    def flush(self, name: str, connection: int) -> None:
        self.handles[name][connection].flush()

    @rule(name=names, connection=connections)
    def beyond_the_end(self, name: str, connection: int) -> None:
        handle = self.handles[name][connection]
        with pytest.raises(nbd.Error):
            handle.pwrite(bytes(4096), SIZES[name] - 512)
        with pytest.raises(nbd.Error):
            handle.pread(4096, SIZES[name] - 512)

    @rule()
    def confirm(self) -> None:
        self.handles["data"][0].flush()
        self.files.confirm_all()

    @rule()
    def checkpoint(self) -> None:
        self.files.command("checkpoint")
        self._compare_stores()

    @rule(clean=st.booleans())
    def restart(self, clean: bool) -> None:
        if clean:
            assert self.processes.stop(self.server) == 0, "with clients connected"
            self._compare_stores()
        else:
            self.processes.kill(self.server)
        self._start()

    @rule()
    def acquisition_off_and_on(self) -> None:
        self.files.command("stop")
        self.files.command("start", journal=self.files.journal_document)
        self.files.confirm_all()

    def teardown(self) -> None:
        try:
            for name, model in self.models.items():
                for handle in self.handles[name]:
                    assert handle.pread(len(model), 0) == model
            assert self.processes.stop(self.server) == 0
            self._compare_stores()
        finally:
            self.processes.close()
            shutil.rmtree(self.folder)

    def _start(self) -> None:
        self.server = start_volume_server(self.processes, self.files)
        self.handles: dict[str, list[nbd.NBD]] = {}
        for name in SIZES:
            pair = [nbd.NBD(), nbd.NBD()]
            for handle in pair:
                handle.set_strict_mode(0)
                handle.connect_uri(self.files.uri(name))
            self.handles[name] = pair

    def _compare_stores(self) -> None:
        for name, model in self.models.items():
            assert self.files.volume(name).read_bytes() == model, f"the store of {name}"

    def _span(self, name: str, block: int, blocks: int) -> tuple[int, int]:
        offset = block * BLOCK % SIZES[name]
        return offset, min(blocks * BLOCK, SIZES[name] - offset)


@pytest.mark.slow
def test_a_server_is_byte_arrays_whatever_happens() -> None:
    run_state_machine_as_test(
        ServerMachine,
        settings=settings(
            max_examples=6, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
