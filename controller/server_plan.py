"""How one nbdkit process is run: its command and files, and the start itself.

What a server serves, and with which command, controller/plans.py says; who
keeps it running is controller/keeper.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from controller import process
from controller.process import ServerProcess

LOG_BYTES_MAX: Final = 1 << 20


@dataclass(frozen=True)
class ServerPlan:
    """How to run one server. `command` is asked before every start, so that it may choose a new port."""

    id: str
    pidfile: Path
    log: Path
    command: Callable[[], list[str]]
    ready: Callable[[], bool] = lambda: True  # beyond having written its pid file
    usable: Callable[[list[str]], bool] = lambda command: True  # whether a found process may be adopted
    leftovers: tuple[Path, ...] = ()  # sockets that a dead process leaves and a new one trips over
    environment: Mapping[str, str] = field(default_factory=dict)
    start_seconds: float = 60.0
    stop_seconds: float = 5.0
    before_stop: Callable[[], None] = lambda: None  # nbdkit waits for idle clients when asked to end, then is killed
    stateless: bool = False  # may be killed without being asked


def spawn(plan: ServerPlan, *words: str, input_file: int | None = None) -> ServerProcess:
    """Start what a plan says, with more words in its command line; a keeper of the same plan adopts it.

    `input_file` becomes its standard input; None: it has none.
    """
    command = plan.command()
    for path in (plan.pidfile, *plan.leftovers):
        path.unlink(missing_ok=True)
    with suppress(FileNotFoundError):
        if plan.log.stat().st_size > LOG_BYTES_MAX:
            plan.log.rename(plan.log.with_name(plan.log.name + ".1"))
    return process.spawn([*command, *words], {**os.environ, **plan.environment}, plan.log, input_file)


def last_words(log: Path) -> str:
    """What a server said last: its own error line if there is one, else its last line."""
    with suppress(OSError):
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines()[-20:] if line.strip()]
        errors = [line.removeprefix("pairvol: ") for line in lines if line.startswith("pairvol: ")]
        if lines:
            return (errors or lines)[-1]
    return "no message"
