"""A host agent on a state directory that it may not use, or that is not what it was: one line, a hint, an exit code."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable
from pathlib import Path

from tests.crash.disk_errors.controllers import WITHOUT_RIGHTS, judge_start
from tests.crash.results import Row
from tests.support.processes import VENV_BIN, Processes

# A file system in memory with room for so many files, in a mount namespace that ends with the agent.
FULL = (
    "unshare",
    "--mount",
    "sh",
    "-c",
    'mount -t tmpfs -o size=64k,nr_inodes=2 none "$0" && exec "$@"',
)
LISTENED = "run/agent.sock"


def _text(name: str, text: str) -> Callable[[Path], None]:
    def spoil(directory: Path) -> None:
        (directory / "state" / name).write_text(text)

    return spoil


def _mode(name: str, mode: int) -> Callable[[Path], None]:
    def spoil(directory: Path) -> None:
        path = directory / name
        if not path.exists():
            path.write_text("{}")
        path.chmod(mode)

    return spoil


def _in_use(directory: Path) -> None:
    file = os.open(directory / "state" / "lock", os.O_RDWR | os.O_CREAT)  # until this process ends
    fcntl.flock(file, fcntl.LOCK_EX)


def _directory(name: str) -> Callable[[Path], None]:
    return lambda directory: (directory / name).mkdir()


def _file(name: str) -> Callable[[Path], None]:
    def spoil(directory: Path) -> None:
        path = directory / name
        if path.is_dir():
            path.rmdir()
        path.write_text("")

    return spoil


def _nothing(directory: Path) -> None:
    """The mount does it."""


_PAIR = json.dumps({"version": 1, "pairs": [{"group": "db", "size": 1}, {"group": "other"}]})

STARTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "directory that may not be written": (_mode("state", 0o500), "permission denied"),
    "directory that may not be entered": (_mode("state", 0), "permission denied"),
    "directory that cannot be made": (_mode(".", 0o500), "permission denied"),
    "file in the directory's place": (_file("state"), "file exists"),
    "disk full": (_nothing, "no space left on device"),
    "lock that may not be opened": (_mode("state/lock", 0), "permission denied"),
    "second agent": (_in_use, "another host agent runs"),
    "events that may not be read": (_mode("state/events.jsonl", 0), "permission denied"),
    "directory in the place of events": (_directory("state/events.jsonl"), "is a directory"),
    "file in the place of the history": (_file("state/history"), "file exists"),
    "pairs that may not be read": (_mode("state/pairs.json", 0), "permission denied"),
    "pairs torn": (_text("pairs.json", '{"pairs": [{"gr'), "is not JSON"),
    "pairs of another shape": (_text("pairs.json", _PAIR), "does not hold pairs: 0."),
    "pairs of a later version": (_text("pairs.json", '{"version": 2, "pairs": []}'), "format version 2"),
    "attachments torn": (_text("attachments.json", "\x00" * 512), "is not JSON"),
    "attachments of a later version": (_text("attachments.json", '{"version": 9}'), "format version 9"),
    "moments of another shape": (_text("moments.json", '{"moments": {"db": 7}}'), "does not hold moments: db"),
    "run directory that cannot be made": (_file("run"), "file exists"),
}


def run_start(row: Row, processes: Processes, directory: Path, name: str) -> None:
    """An agent whose directories were spoiled before it started."""
    spoil, words = STARTS[name]
    home = directory / "home"
    state, config = home / "state", directory / "agent.toml"
    home.mkdir()
    if name != "directory that cannot be made":
        state.mkdir()
    config.write_text(
        f'site = "tokyo"\nstate_directory = "{state}"\nlisten = "unix:{home / LISTENED}"\n'
        f'controller = "unix:{home / "controller.sock"}"\n'
    )
    spoil(home)
    mounted: list[str | Path] = [*FULL, state] if name == "disk full" else []
    command: list[str | Path] = [*mounted, *WITHOUT_RIGHTS, VENV_BIN / "pairvol", "agent", "run", "--config", config]
    try:
        judge_start(row, f"agent: {name}", command, words)
    finally:
        home.chmod(0o700)
        if state.is_dir():
            state.chmod(0o700)
