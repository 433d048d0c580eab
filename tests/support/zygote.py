"""Controllers without their start-up time: one process imports everything once, and each controller is a fork of it.

    python -m tests.support.zygote DESCRIPTOR

Importing takes ten times as long as everything else that a controller does
when it starts, and some tests start one some thirty times. What runs is the
same daemon, in a process and a session of its own; it only was not executed
anew. Requests and answers are JSON over the socket of that descriptor; when
its other end is closed, the zygote ends. Children run on.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

MESSAGE_BYTES_MAX = 4096
START_SECONDS = 60.0


class ForkedProcess:
    """What tests need of subprocess.Popen. Any thread may call."""

    def __init__(self, zygote: Zygote, pid: int, words: list[str]) -> None:
        self.pid = pid
        self.args = words
        self.returncode: int | None = None
        self._zygote = zygote

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._zygote.ended(self.pid, 0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            self.returncode = self._zygote.ended(self.pid, timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:  # its pid is not given away before the zygote said that it ended, and we heard it
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Zygote:
    """The other end: starts the zygote at first use, and ends it with this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner = 0
        self._link: socket.socket | None = None
        self._codes: dict[int, int] = {}
        self._started: list[int] = []

    def start(self, config: Path, mortal: bool, log: Path) -> ForkedProcess:
        """A controller, with its words appended to a log."""
        with self._lock:
            link = self._connected()
            link.send(json.dumps({"config": str(config), "mortal": mortal, "log": str(log)}).encode())
            deadline = time.monotonic() + START_SECONDS
            while not self._started:
                assert time.monotonic() < deadline, "the zygote does not answer"
                self._hear(1.0)
            pid = self._started.pop()
            self._codes.pop(pid, None)  # of an earlier one
        return ForkedProcess(self, pid, ["controller", str(config)])

    def ended(self, pid: int, timeout: float | None) -> int | None:
        """The exit code of a controller, waited for."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            with self._lock:
                self._hear(0)
                if pid in self._codes:
                    return self._codes[pid]
            left = 1.0 if deadline is None else deadline - time.monotonic()
            if left <= 0 or self._link is None:
                return None
            select.select([self._link], [], [], min(left, 0.05))

    def _connected(self) -> socket.socket:
        if self._link is None or self._owner != os.getpid():
            self._link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            words = [sys.executable, "-m", "tests.support.zygote", str(theirs.fileno())]
            process = subprocess.Popen(words, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
            theirs.close()
            self._owner = os.getpid()
            atexit.register(_end, process, self._link)
        return self._link

    def _hear(self, seconds: float) -> None:
        link = self._link
        while link is not None and select.select([link], [], [], seconds)[0]:
            seconds = 0
            message = link.recv(MESSAGE_BYTES_MAX)
            assert message, "the zygote has died"
            said: dict[str, int] = json.loads(message)
            if "started" in said:
                self._started.append(said["started"])
            else:
                self._codes[said["ended"]] = said["code"]


def _end(process: subprocess.Popen[bytes], link: socket.socket) -> None:
    link.close()
    process.wait(10)


zygote = Zygote()


def serve(link: socket.socket) -> None:
    """Fork as told, and say who ended, until the other end is closed."""
    import controller.daemon  # noqa: F401 - the point of it all
    from controller.api.shape import Shape, build

    build(Shape.__subclasses__())
    gc.freeze()  # or the first collection of each child would write to every page that it shares with us
    woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *words: None)
    signal.set_wakeup_fd(wake)
    while True:
        ready = select.select([link.fileno(), woken], [], [])[0]
        if woken in ready:
            os.read(woken, MESSAGE_BYTES_MAX)
            _reap(link)
        if link.fileno() in ready:
            request = link.recv(MESSAGE_BYTES_MAX)
            if not request:
                return
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                link.close()
                _be_controller(json.loads(request))
            link.send(json.dumps({"started": pid}).encode())


def _reap(link: socket.socket) -> None:
    with suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            with suppress(OSError):
                link.send(json.dumps({"ended": pid, "code": os.waitstatus_to_exitcode(status)}).encode())


def _be_controller(request: dict[str, Any]) -> None:
    """Never returns."""
    code = 1
    try:
        os.setsid()
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for descriptor in (1, 2):
            os.dup2(log, descriptor)
        os.close(log)
        from controller.daemon import run
        from tests.support.mortal import main

        (main if request["mortal"] else run)(request["config"])
        code = 0
    except BaseException:  # noqa: BLE001 - the boundary of a process
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as control:
        serve(control)
