"""A controller whose own files fail or are not what they were: what it is told, what it says, what is left.

A document that the disk refuses leaves the one before it in force, the
command is refused with the cause, and the next one works when the disk does.
A start on spoiled files is one line, a hint and an exit code.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from controller.api.models import VolumeCreate
from controller.errors import StorageError
from tests.crash.disk_errors.refusal import REPLACED, Fault, faults, refused
from tests.crash.results import Row
from tests.support.controllers import ControllerProcess
from tests.support.processes import VENV_BIN, Processes

VOLUME_BYTES = 1 << 20
START_SECONDS = 60
WITHOUT_RIGHTS = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")  # root, bound by the modes of files
STATE_FAULTS = faults(REPLACED)


def state_refused(row: Row, processes: Processes, directory: Path) -> None:
    """state.json at write and at both syncs, EIO and ENOSPC: one controller meets them all."""
    controller = ControllerProcess(processes, directory, f"tokyo{directory.name}")
    try:
        controller.start()
        controller.client.create_volume(VolumeCreate(name="first", size_bytes=VOLUME_BYTES))
        for fault in STATE_FAULTS:
            _refused_once(row, processes, controller, fault)
        kept = [volume.name for volume in controller.client.volumes()]
        controller.restart()
        if [volume.name for volume in controller.client.volumes()] != kept:
            row.lose(f"state.json: {kept} were there before the restart, not after it")
    finally:
        controller.stop()


def _refused_once(row: Row, processes: Processes, controller: ControllerProcess, fault: Fault) -> None:
    label, client = f"state.json, {fault}", controller.client
    before = [volume.name for volume in client.volumes()]
    request = VolumeCreate(name=f"v{len(before)}", size_bytes=VOLUME_BYTES)
    row.attempted += 1
    document = controller.state_directory / "state.json"
    with refused(processes, controller.directory, controller.pid, fault, document):
        try:
            client.create_volume(request)
        except StorageError as error:
            row.reached += 1
            if not fault.named_in(error.message) or "state.json" not in error.message or not error.hint:
                row.lose(f"{label}: said {error.message!r}, hint {error.hint!r}")
        else:
            row.lose(f"{label}: the command was answered as done")
    kept = sorted(json.loads((controller.state_directory / "state.json").read_text())["volumes"])
    if [volume.name for volume in client.volumes()] != before or kept != before:
        row.lose(f"{label}: the state is not as it was before the command")
    client.create_volume(request)  # the disk is well again


def _document(**changes: object) -> Callable[[Path], None]:
    def spoil(state: Path) -> None:
        (state / "state.json").write_text(json.dumps({"version": 1, "site": "tokyo"} | changes))

    return spoil


def _torn(state: Path) -> None:
    (state / "state.json").write_text('{"version": 1, "si')


def _unreadable(state: Path) -> None:
    _document()(state)
    (state / "state.json").chmod(0)


def _not_to_be_written(state: Path) -> None:
    state.chmod(0o500)


def _not_a_directory(state: Path) -> None:
    (state / "groups").write_text("")


def _in_use(state: Path) -> None:
    file = os.open(state / "lock", os.O_RDWR | os.O_CREAT)  # until this process ends
    fcntl.flock(file, fcntl.LOCK_EX)


STARTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "state of another format": (_document(version=99), "format version 99"),
    "state of another site": (_document(site="osaka"), "belongs to site osaka"),
    "state torn": (_torn, "is not JSON"),
    "state without its keys": (_document(groups={"db": {}}), "cannot be understood at groups.db"),
    "state that may not be read": (_unreadable, "permission denied"),
    "directory that may not be written": (_not_to_be_written, "permission denied"),
    "file in a directory's place": (_not_a_directory, "file exists"),
    "second controller": (_in_use, "another controller runs"),
}


def run_start(row: Row, processes: Processes, directory: Path, name: str) -> None:
    """A controller on a state directory that is not what it was."""
    spoil, words = STARTS[name]
    state, config = directory / "state", directory / "controller.toml"
    state.mkdir()
    config.write_text(f'site = "tokyo"\nstate_directory = "{state}"\nrun_directory = "{directory / "run"}"\n')
    spoil(state)
    command: list[str | Path] = [*WITHOUT_RIGHTS, VENV_BIN / "pairvol", "controller", "run", "--config", config]
    try:
        judge_start(row, name, command, words)
    finally:
        state.chmod(0o700)


def judge_start(row: Row, label: str, command: list[str | Path], words: str) -> None:
    """A daemon that cannot start says why in one line, and what to do in another, and ends with the code for it."""
    row.attempted += 1
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=START_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        row.lose(f"{label}: it started")
        return
    row.reached += 1
    lines = ended.stderr.splitlines()
    right = len(lines) == 2 and lines[0].startswith("pairvol: ") and words in lines[0] and lines[1].startswith("HINT: ")
    if not right or ended.returncode not in (20, 30, 40):
        row.lose(f"{label}: exit {ended.returncode}, said {ended.stderr[-300:]!r}")
