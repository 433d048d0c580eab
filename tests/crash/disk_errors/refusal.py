"""One system call on one file of a running process fails, by strace, for as long as a test wants it.

Owns how a document is named before it has its name, and how often the fault
was met. What the process says about it, the rows judge.
"""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.processes import Processes
from tests.support.waiting import wait_until

Place = tuple[str, str]  # a system call; the temporary, the directory, or anything else for the file itself

REPLACED: Final = (("write", "temporary"), ("fsync", "temporary"), ("rename", "temporary"), ("fsync", "directory"))
"""Where the replacement of a document can be refused (controller/durable.py)."""
LINES: Final = (("write", "file"), ("fsync", "file"), ("fsync", "directory"))
"""Where a line that is added can be (controller/lines.py)."""
NUMBERS: Final = (errno.EIO, errno.ENOSPC)
_names = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Fault:
    """What is refused: a system call on a file, on what is to take its name, or on its directory."""

    call: str
    what: str
    number: int

    def __str__(self) -> str:
        return f"{errno.errorcode[self.number]} at {self.call} of {self.what}"

    def named_in(self, words: str | None) -> bool:
        return os.strerror(self.number).lower() in (words or "").lower()

    def path(self, document: Path, pid: int) -> Path:
        temporary = document.with_name(f".{document.name}.{pid}.new")
        return {"temporary": temporary, "directory": document.parent}.get(self.what, document)


def faults(places: Iterable[Place], numbers: Iterable[int] = NUMBERS) -> list[Fault]:
    return [Fault(call, what, number) for (call, what), number in itertools.product(places, numbers)]


class Refusal:
    """A fault that is on."""

    def __init__(self, log: Path) -> None:
        self._log = log

    def met(self) -> int:
        """How often it happened so far."""
        return self._log.read_text(errors="replace").count("(INJECTED)")


@contextmanager
def refused(processes: Processes, directory: Path, pid: int, fault: Fault, document: Path) -> Iterator[Refusal]:
    """Within this the system call fails; `directory` takes what strace writes."""
    name = f"strace-{directory.name}-{next(_names)}"
    log = directory / f"{name}.calls"
    words: list[str | Path] = ["-P", fault.path(document, pid), "-e", f"trace={fault.call}"]
    words += ["-e", f"inject={fault.call}:error={errno.errorcode[fault.number]}"]
    tracer = processes.start(["strace", "-f", "-o", log, *words, "-p", str(pid)], name)
    wait_until(lambda: "attached" in processes.log(name), 30, "strace to attach")
    try:
        yield Refusal(log)
    finally:
        processes.stop(tracer)
