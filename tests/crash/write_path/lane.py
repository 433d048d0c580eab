"""One volume server that is killed at a chosen system call, again and again, over the same files.

The kill is strace's: SIGKILL when a thread of the server enters the N-th call
of a kind. Every life begins with what the last one left, so each check of a
recovery is also the start of the next fault.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import nbd

from controller.errors import PairvolError
from tests.crash.results import Row
from tests.crash.write_path.history import History
from tests.support.nbdkit import connected
from tests.support.processes import Processes
from tests.support.volume_server import PLUGIN, GroupFiles, start_volume_server
from tests.support.waiting import wait_until

SIZES = {"data": 1 << 20, "log": 512 << 10}
STEPS_MAX = 160
STEPS_TO_REPLAY = 40
WEIGHTS = {"page": 50, "blocks": 15, "long": 12, "zero": 6, "trim": 6, "flush": 8, "checkpoint": 3}


@dataclass(frozen=True)
class Point:
    """Where to kill: the N-th of a system call, while the server starts or while it serves."""

    call: str
    when: int
    starting: bool = False

    def __str__(self) -> str:
        return f"{self.call}#{self.when}{' at the start' if self.starting else ''}"

    @property
    def injection(self) -> list[str]:
        return ["-f", "-e", f"trace={self.call}", "-e", f"inject={self.call}:signal=KILL:when={self.when}"]


class Lane:
    """A group of two volumes with the smallest of journals, and its killed servers."""

    def __init__(
        self,
        directory: Path,
        row: Row,
        plugin: Path = PLUGIN,
        environment: Mapping[str, str] | None = None,
        syncing: bool = True,
    ) -> None:
        self.row = row
        self.files = GroupFiles(directory, SIZES, 1 << 20, full_wait_seconds=20.0).create()
        self.history = History(list(SIZES.values()))
        self.processes = Processes(directory / "logs")
        self._chooser = random.Random(f"{row.seed} {directory.name}")
        self._plugin = plugin
        self._environment: Mapping[str, str] | None = environment
        self._weights = WEIGHTS if syncing else WEIGHTS | {"flush": 0, "checkpoint": 0}
        self._fua_share = 0.1 if syncing else 0.0
        self._lives = 0
        self.missed: list[Point] = []

    def run(self, points: list[Point]) -> None:
        """Kill at each point in turn and check what is left; ends with a clean start and stop."""
        with self.processes:
            for point in points:
                self.row.attempted += 1
                self._kill_at(point)
            server = self._start()
            self._check_recovered("the end")
            self.processes.stop(server)
            for name, model in zip(SIZES, self.history.models, strict=True):
                if self.files.volume(name).read_bytes() != model:
                    self.row.lose(f"the store of {name} after a clean stop")

    def _kill_at(self, point: Point) -> None:
        if point.starting:
            self._leave_something_to_replay()
            server = self._start("strace", "-qq", "-o", self.files.directory / "strace", *point.injection)
        else:
            server = self._start()
            self._check_recovered(str(point))
            self._attach(server.pid, point)
            self._work(STEPS_MAX)
        if not self._dying(server):
            self._stop(server)
            self.missed.append(point)  # counted apart
            return
        self.row.reached += 1
        self._check_stores(str(point))

    def _leave_something_to_replay(self) -> None:
        server = self._start()
        self._check_recovered("a start")
        self._work(STEPS_TO_REPLAY)
        self.processes.kill(server)
        self._check_stores("a start")

    def _check_stores(self, point: str) -> None:
        wrong = self.history.check_stores([self.files.volume(name) for name in SIZES], self.files.pointers)
        if wrong is not None:
            self.row.lose(f"{point}: {wrong}")

    def _start(self, *before: str | Path) -> subprocess.Popen[bytes]:
        self._lives += 1
        name = f"life-{self._lives}"
        server = start_volume_server(
            self.processes, self.files, name, self._plugin, before, wait=False, environment=self._environment
        )

        def serving() -> bool:  # the control socket comes a little after the pid file
            return self.files.pidfile.exists() and self.files.control.exists()

        wait_until(lambda: serving() or server.poll() is not None, 60, "the server to serve or die")
        if not before:
            assert server.poll() is None, self.processes.log(name)
        return server

    def _check_recovered(self, point: str) -> None:
        """Everything acknowledged is there, and nothing that was not sent."""
        wrong = self.history.settle(self.files.command("status")["appended"]["sequence"])
        for name, model in zip(SIZES, self.history.models, strict=True):
            with connected(self.files.uri(name)) as handle:
                if handle.pread(len(model), 0) != model:
                    wrong = wrong or f"volume {name} is not what was acknowledged"
        if wrong is not None:
            self.row.lose(f"before {point}: {wrong}")
            raise Lost

    def _attach(self, pid: int, point: Point) -> None:
        name = f"strace-{self._lives}"
        output = self.files.directory / "strace"
        self.processes.start(["strace", "-o", output, "-p", str(pid), *point.injection], name)
        wait_until(lambda: "attached" in self.processes.log(name), 30, "strace to attach", interval=0.005)

    def _work(self, steps: int) -> None:
        """Requests of every kind until the server dies, or enough of them."""
        try:
            with (
                self._confirming(),
                connected(self.files.uri("data")) as data,
                connected(self.files.uri("log")) as log,
            ):
                for _ in range(steps):
                    self._step([data, log])
        except (nbd.Error, PairvolError):
            pass  # it died, or the caller sees that it did not

    def _step(self, handles: list[nbd.NBD]) -> None:
        chooser, history = self._chooser, self.history
        volume = chooser.choice([0, 0, 1])
        handle, sectors_all = handles[volume], len(history.models[volume]) // 512
        kind = chooser.choices(list(self._weights), list(self._weights.values()))[0]
        flags = nbd.CMD_FLAG_FUA if chooser.random() < self._fua_share else 0
        sectors = {"page": 8, "blocks": chooser.randint(1, 12)}.get(kind, 8 * chooser.randint(2, 16))
        lba = chooser.randrange(sectors_all - sectors)
        lba -= lba % 8 if kind != "blocks" else 0
        if kind == "flush":
            handle.flush()
        elif kind == "checkpoint":
            self.files.command("checkpoint")
        else:
            step = history.send(volume, lba, sectors, zeros=kind in ("zero", "trim"))
            if kind == "zero":
                handle.zero(sectors * 512, lba * 512, flags | nbd.CMD_FLAG_NO_HOLE)
            elif kind == "trim":
                handle.trim(sectors * 512, lba * 512, flags)
            else:
                handle.pwrite(step.data, lba * 512, flags)
            history.acknowledged()

    @contextmanager
    def _confirming(self) -> Iterator[None]:
        """Plays the controller all the while, so that no write waits for space for long."""
        over = threading.Event()

        def confirm() -> None:
            while not over.wait(0.005):
                self.files.confirm_all()

        thread = threading.Thread(target=confirm)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _stop(self, server: subprocess.Popen[bytes]) -> None:
        """End a server that was not killed, by its own pid: a tracer passes no signal on."""
        os.kill(int(self.files.pidfile.read_text()), signal.SIGTERM)
        server.wait(30)

    def _dying(self, server: subprocess.Popen[bytes]) -> bool:
        """Whether a server that broke off is on its way out; one that serves on is not."""
        try:
            self.files.command("status")
        except PairvolError:
            server.wait(30)
        return server.poll() is not None


class Lost(Exception):  # noqa: N818 - ends a lane: what follows would only repeat it
    """Something acknowledged is gone; the row says what."""
