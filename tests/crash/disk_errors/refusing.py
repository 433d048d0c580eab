"""A system call of a live process on one path fails, by strace."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.processes import Processes
from tests.support.waiting import wait_until


@contextmanager
def refusing(processes: Processes, pid: int, call: str, path: Path, number: int, log: Path) -> Iterator[None]:
    """Within this `call` on `path` is answered with an error number; `log` is where strace writes, and names it."""
    name = f"strace-{log.parent.name}-{log.name}"
    injected = f"inject={call}:error={errno.errorcode[number]}"
    words: list[str | Path] = ["-P", path, "-e", f"trace={call}", "-e", injected, "-p", str(pid)]
    tracer = processes.start(["strace", "-f", "-o", log, *words], name)
    wait_until(lambda: "attached" in processes.log(name), 30, "strace to attach")
    try:
        yield
    finally:
        processes.stop(tracer)
