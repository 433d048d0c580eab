"""The runners of all pairs of this agent, by group. Owns which runs; any thread may call."""

from __future__ import annotations

import threading

from hostagent.copy_manager.runner import PairRunner


class Runners:
    """At most one runner for each group."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[str, PairRunner] = {}

    def start(self, runner: PairRunner) -> PairRunner:
        """Begin; one that runs for the same group is ended first."""
        with self._lock:
            old = self._running.pop(runner.group, None)
            self._running[runner.group] = runner
        if old is not None:
            old.stop()
        runner.start()
        return runner

    def find(self, group: str) -> PairRunner | None:
        with self._lock:
            return self._running.get(group)

    def all(self) -> list[PairRunner]:
        with self._lock:
            return [self._running[group] for group in sorted(self._running)]

    def end(self, group: str) -> None:
        with self._lock:
            runner = self._running.pop(group, None)
        if runner is not None:
            runner.stop()

    def end_all(self) -> None:
        for runner in self.all():
            self.end(runner.group)
