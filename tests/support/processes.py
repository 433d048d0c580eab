"""Processes that tests start: found again by pid, ended by pid, never by name."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from tests.support.waiting import wait_until
from tests.support.zygote import ForkedProcess

PROJECT = Path(__file__).resolve().parents[2]
VENV_BIN = Path(sys.executable).parent

AnyProcess = subprocess.Popen[bytes] | ForkedProcess


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def alive(pid: int) -> bool:
    """True while the process exists and is no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def end(pid: int, timeout: float = 10.0) -> None:
    """SIGTERM, then SIGKILL when the deadline has passed; returns when the process is gone."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
        try:
            wait_until(lambda: not alive(pid), timeout, f"end of process {pid}")
            return
        except AssertionError:
            if number == signal.SIGKILL:
                raise


class Processes:
    """A context that ends, at its close, every process started in it. Logs go to files in `log_directory`."""

    def __init__(self, log_directory: Path) -> None:
        self.log_directory = log_directory
        self._started: list[AnyProcess] = []

    def start(
        self,
        command: Sequence[str | Path],
        name: str,
        environment: Mapping[str, str] | None = None,
        stdin: int = subprocess.DEVNULL,
    ) -> subprocess.Popen[bytes]:
        """Start a process of its own session; stdout and stderr are appended to NAME.log."""
        with self.log_of(name).open("ab") as log:
            process = subprocess.Popen(
                [str(word) for word in command],
                stdin=stdin,
                stdout=log,
                stderr=log,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
        self._started.append(process)
        return process

    def log_of(self, name: str) -> Path:
        """Where a process of that name says what it has to say."""
        self.log_directory.mkdir(parents=True, exist_ok=True)
        return self.log_directory / f"{name}.log"

    def adopt(self, process: ForkedProcess) -> ForkedProcess:
        """Take a process that was started otherwise for one of these."""
        self._started.append(process)
        return process

    def kill(self, process: AnyProcess) -> None:
        """SIGKILL, and reap."""
        process.kill()
        process.wait(10)

    def stop(self, process: AnyProcess, timeout: float = 20.0) -> int:
        """SIGTERM, and reap; a process that does not end in time is killed and fails the test."""
        if process.poll() is None:
            process.terminate()
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill(process)
            raise AssertionError(f"process {process.args!r} ignored SIGTERM for {timeout:g} s") from None

    def log(self, name: str) -> str:
        return (self.log_directory / f"{name}.log").read_text(errors="replace")

    def close(self) -> None:
        for process in reversed(self._started):
            if process.poll() is None:
                process.terminate()
        for process in reversed(self._started):
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill(process)
        self._started.clear()

    def __enter__(self) -> Processes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
