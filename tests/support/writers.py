"""Load for end-to-end tests: stamped writes over NBD, and records in a file system with an fsync each."""

from __future__ import annotations

import os
import random
import threading
from pathlib import Path
from types import TracebackType
from typing import Self
from zlib import crc32

import nbd

from tests.support.stamps import SECTOR_BYTES, StampLog, Write
from tests.support.waiting import wait_until

HOT_SECTORS = 64
RECONNECT_SECONDS = 20.0


class Load:
    """A thread that works until it is stopped, and whose failure fails the test that stops it."""

    def __init__(self, name: str) -> None:
        self.stopping = threading.Event()
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._guarded, name=name, daemon=True)

    def work(self) -> None:
        raise NotImplementedError

    def _guarded(self) -> None:
        try:
            self.work()
        except BaseException as failure:  # noqa: BLE001 - handed to the test in `stop`
            self.failure = failure

    def check(self) -> None:
        if self.failure is not None:
            raise AssertionError(f"{self._thread.name} failed: {self.failure!r}") from self.failure

    def stop(self) -> None:
        self.stopping.set()
        self._thread.join(60)
        assert not self._thread.is_alive(), f"{self._thread.name} hangs"
        self.check()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopping.set()
        self._thread.join(60)
        if error is None:
            self.check()


class StampedWriter(Load):
    """Random stamped writes to one volume, a few in flight, a flush now and then.

    A quarter of them goes to a small hot area, so that writes overwrite each
    other. A connection that breaks is made again; what was in flight then
    counts as never acknowledged.
    """

    def __init__(
        self, uri: str, volume: int, log: StampLog, seed: int, depth: int = 4, pause_seconds: float = 0.001
    ) -> None:
        super().__init__(f"stamped writer of volume {volume}")
        self.uri = uri
        self.volume = volume
        self.log = log
        self.depth = depth
        self.pause_seconds = pause_seconds
        self.breaks = 0
        self._choose = random.Random(seed)

    def work(self) -> None:
        while not self.stopping.is_set():
            flying: dict[int, tuple[Write, nbd.Buffer]] = {}
            handle = self._connect()
            try:
                self._write(handle, flying)
                handle.shutdown()
            except nbd.Error:
                self.breaks += 1
            finally:
                for write, _ in flying.values():
                    self.log.abandon(write)

    def _connect(self) -> nbd.NBD:
        def attempt() -> nbd.NBD | None:
            handle = nbd.NBD()
            try:
                handle.connect_uri(self.uri)
            except nbd.Error:
                return None
            return handle

        handle = wait_until(attempt, RECONNECT_SECONDS, f"{self.uri} to take a connection")
        assert handle is not None
        return handle

    def _write(self, handle: nbd.NBD, flying: dict[int, tuple[Write, nbd.Buffer]]) -> None:
        sectors = handle.get_size() // SECTOR_BYTES
        count = 0
        while not self.stopping.is_set():
            while len(flying) < self.depth:
                lba, length = self._place(sectors)
                write, data = self.log.issue(self.volume, lba, length)
                buffer = nbd.Buffer.from_bytearray(bytearray(data))
                flying[handle.aio_pwrite(buffer, lba * SECTOR_BYTES)] = (write, buffer)
            self._settle(handle, flying)
            count += 1
            if count % 100 == 0:
                handle.flush()
            self.stopping.wait(self.pause_seconds)
        while flying:
            self._settle(handle, flying)
        handle.flush()  # who waits then for what is durable waits for all that was acknowledged

    def _place(self, sectors: int) -> tuple[int, int]:
        length = self._choose.choice((1, 1, 8, 8, 8, 64))
        end = min(HOT_SECTORS * 4, sectors) if self._choose.random() < 0.25 else sectors
        return self._choose.randrange(max(1, end - length)), length

    def _settle(self, handle: nbd.NBD, flying: dict[int, tuple[Write, nbd.Buffer]]) -> None:
        """Wait for the server, then note what it acknowledged."""
        handle.poll(1000)
        for cookie in list(flying):
            if handle.aio_command_completed(cookie):
                self.log.acknowledge(flying.pop(cookie)[0])


class RecordWriter(Load):
    """Appends numbered records to a file and fsyncs each; `acknowledged` counts those that fsync returned for."""

    def __init__(self, path: Path, pause_seconds: float = 0.002) -> None:
        super().__init__(f"record writer of {path.name}")
        self.path = path
        self.pause_seconds = pause_seconds
        self.acknowledged = 0

    def work(self) -> None:
        with self.path.open("ab", buffering=0) as file:
            while not self.stopping.is_set():
                file.write(record(self.acknowledged + 1))
                os.fsync(file.fileno())
                self.acknowledged += 1
                self.stopping.wait(self.pause_seconds)

    def wait_for_more(self, count: int, timeout: float = 30.0) -> None:
        """Until `count` more records were acknowledged: the load is really on."""
        target = self.acknowledged + count

        def there() -> bool:
            self.check()
            return self.acknowledged >= target

        wait_until(there, timeout, f"{count} more fsynced records")


def record(number: int) -> bytes:
    body = f"{number:012d} " + "pairvol " * 60
    return f"{body}{crc32(body.encode()):08x}\n".encode()


def count_records(data: bytes) -> int:
    """How many whole records in order `data` begins with; an assertion when anything else follows a gap."""
    size = len(record(1))
    whole = len(data) // size
    for number in range(1, whole + 1):
        assert data[(number - 1) * size : number * size] == record(number), f"record {number} is not what was written"
    return whole
