"""Keeps one nbdkit process running: a thread that adopts or starts it, watches and restarts it.

Owns the life of that process. A keeper first looks for a process that an
earlier controller left running and adopts it; else it starts one. A process
that ends unasked is started again, at growing intervals, and an event says
so. How a server is run, its plan says (controller/server_plan.py).
"""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from typing import Final

from controller import process
from controller.api.models import ServerState
from controller.errors import PairvolError, PeerError
from controller.events import Events
from controller.prepared import PreparedServer
from controller.process import ServerProcess
from controller.server_plan import ServerPlan, last_words, spawn

BACKOFF_SECONDS_MIN: Final = 0.1
BACKOFF_SECONDS_MAX: Final = 10.0
STEADY_SECONDS: Final = 30.0  # a server that lived this long starts again at once
READY_POLL_SECONDS: Final = 0.003


class Keeper:
    """Keeps one server alive until `stop` (which ends it) or `leave` (which does not).

    `prepared`: one that was started ahead by the same plan, to be handed over.
    """

    def __init__(self, plan: ServerPlan, events: Events, prepared: PreparedServer | None = None) -> None:
        self.plan = plan
        self._prepared = prepared
        self.state = ServerState.STOPPED
        self.failure: str | None = None
        self.pid: int | None = None
        self.failures = 0  # starts that came to nothing
        self._events = events
        self._changed = threading.Condition()
        self._ending: str | None = None  # "stop" or "leave"
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._thread = threading.Thread(target=self._run, name=f"keeper {plan.id}", daemon=True)
        self._thread.start()

    def wait_ready(self, seconds: float) -> None:
        """Wait until the server answers; PeerError with its last words when it does not, or failed twice meanwhile."""
        deadline = time.monotonic() + seconds
        with self._changed:
            failures = self.failures
            while self.state is not ServerState.RUNNING:
                left = deadline - time.monotonic()
                if left <= 0 or self.failures >= failures + 2 or not self._thread.is_alive():
                    raise PeerError(
                        f"server {self.plan.id} is not up: {self.failure or 'still starting'}",
                        hint=f'See {self.plan.log}, and what "pairvol check" says.',
                        server=self.plan.id,
                    )
                self._changed.wait(left)

    def stop(self) -> None:
        """End the server and wait for its end."""
        self._end("stop")
        self._set(ServerState.STOPPED, None, None)

    def leave(self) -> None:
        """Stop keeping; the server runs on."""
        self._end("leave")

    def _end(self, how: str) -> None:
        with self._changed:
            self._ending = self._ending or how
            self._changed.notify_all()
            if self._thread.is_alive():
                os.write(self._wake_write, b"x")
        self._thread.join()
        with self._changed:
            if self._wake_read >= 0:
                os.close(self._wake_read)
                os.close(self._wake_write)
                self._wake_read = self._wake_write = -1

    def _run(self) -> None:
        backoff = BACKOFF_SECONDS_MIN
        if self._prepared is not None:
            self._prepared.hand_over()
        while self._ending is None:
            running = self._adopt_or_start()
            if running is not None:
                began = time.monotonic()
                ended = self._watch(running)
                if not ended:
                    break
                if time.monotonic() - began > STEADY_SECONDS:
                    backoff = BACKOFF_SECONDS_MIN
                self._died(running, backoff)
                running.close()
            with self._changed:
                self._changed.wait_for(lambda: self._ending is not None, backoff)
            backoff = min(backoff * 2, BACKOFF_SECONDS_MAX)

    def _adopt_or_start(self) -> ServerProcess | None:
        """A server that answers, or None with the failure noted."""
        running: ServerProcess | None = None
        try:
            running = process.adopt(self.plan.pidfile)
            if running is not None and not self.plan.usable(process.command_line(running.pid)):
                self._terminate(running)
                running.close()
                running = None
            adopted = running is not None
            if running is None:
                running = spawn(self.plan)
            self._await_ready(running)
        except (PairvolError, OSError) as error:
            if running is not None:
                if running.alive() and self._ending != "leave":
                    self._terminate(running)
                running.reap()
                running.close()
            self._failed(error.message if isinstance(error, PairvolError) else str(error).lower())
            return None
        self._set(ServerState.RUNNING, running.pid, None)
        verb = "adopted" if adopted else "started"
        self._events.emit(
            "info", f"server.{verb}", f"{verb} {self.plan.id}", {"server": self.plan.id, "pid": running.pid}
        )
        return running

    def _await_ready(self, running: ServerProcess) -> None:
        deadline = time.monotonic() + self.plan.start_seconds
        while not (self._pid_written(running.pid) and self.plan.ready()):
            if not running.alive():
                raise PeerError(f"it ended at start: {last_words(self.plan.log)}")
            if self._ending is not None:
                raise PeerError("its start was called off")
            if time.monotonic() > deadline:
                raise PeerError(f"it did not answer within {self.plan.start_seconds:g} s")
            running.wait(READY_POLL_SECONDS)

    def _pid_written(self, pid: int) -> bool:
        try:
            return self.plan.pidfile.read_text().strip() == str(pid)
        except OSError:
            return False

    def _watch(self, running: ServerProcess) -> bool:
        """Wait until the process ends (True) or keeping it does (False)."""
        poll = select.poll()
        poll.register(running.descriptor, select.POLLIN)
        poll.register(self._wake_read, select.POLLIN)
        poll.poll()
        if self._ending is None:
            return True
        if self._ending == "stop":
            self._terminate(running)
        running.close()
        return False

    def _terminate(self, running: ServerProcess) -> None:
        self.plan.before_stop()
        running.send(signal.SIGKILL if self.plan.stateless else signal.SIGTERM)
        if not running.wait(self.plan.stop_seconds):
            self._events.emit(
                "warning", "server.killed", f"{self.plan.id} did not end when asked", {"server": self.plan.id}
            )
            running.send(signal.SIGKILL)
            running.wait(self.plan.stop_seconds)
        running.reap()
        self.plan.pidfile.unlink(missing_ok=True)  # that number is somebody else's soon

    def _died(self, running: ServerProcess, backoff: float) -> None:
        running.reap()
        self._set(ServerState.FAILED, None, f"it ended: {last_words(self.plan.log)}")
        self._events.emit(
            "error",
            "server.died",
            f"{self.plan.id} ended; starting it again",
            {"server": self.plan.id, "pid": running.pid, "backoff_seconds": backoff},
        )

    def _failed(self, message: str) -> None:
        known = self.failure == message
        self.failures += 1
        self._set(ServerState.FAILED, None, message)
        if not known and self._ending is None:  # the same failure at every attempt is told once
            self._events.emit(
                "error", "server.failed", f"cannot start {self.plan.id}: {message}", {"server": self.plan.id}
            )

    def _set(self, state: ServerState, pid: int | None, failure: str | None) -> None:
        with self._changed:
            self.state, self.pid, self.failure = state, pid, failure
            self._changed.notify_all()
