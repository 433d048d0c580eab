"""Runs the user's check command on the devices of a drill.

The command is given to a shell. `{device}` stands for a device; a command
that has it is run for each device in turn, until one fails. One without it
runs once, and finds them all in PAIRVOL_DEVICES.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from controller.api.drills import Drill, DrillCheck

PLACE: Final = "{device}"
OUTPUT_BYTES_MAX: Final = 4000
FSCK: Final = re.compile(r"([\w/.-]*/)?(fsck(\.\w+)?|e2fsck) [^;&|\n]*$")  # that alone, so that the code is its own
FSCK_MENDED: Final = 1  # fsck(8): errors were found and corrected


def run_check(drill: Drill, devices: Mapping[str, str], command: str, seconds: float) -> DrillCheck:
    """Run the command to its end, or kill it when its time is over; never raises for what it does."""
    environment = os.environ | {
        "PAIRVOL_DEVICES": " ".join(devices.values()),
        "PAIRVOL_GROUP": drill.group,
        "PAIRVOL_DRILL": str(drill.number),
        "PAIRVOL_SEQUENCE": str(drill.sequence),
    }
    began = time.monotonic()
    words = [command]
    if PLACE in command:
        words = [command.replace(PLACE, shlex.quote(device)) for device in devices.values()]
    code: int | None = 0
    output = ""
    for each in words:
        ended, said = _run(each, environment, began + seconds - time.monotonic())
        output += said
        if ended != 0:
            code = ended
        if not _passed(command, ended):
            break
    return DrillCheck(
        command=command,
        passed=_passed(command, code),
        exit_code=code,
        seconds=round(time.monotonic() - began, 3),
        sequence=drill.sequence,
        time_ns=time.time_ns(),
        output=output[-OUTPUT_BYTES_MAX:],
    )


def _passed(command: str, code: int | None) -> bool:
    """A file system that was mounted at the moment of the drill has counts to be mended: fsck does, and says so."""
    return code == 0 or (code == FSCK_MENDED and FSCK.match(command) is not None)


def _run(command: str, environment: Mapping[str, str], seconds: float) -> tuple[int | None, str]:
    """(exit code, the last of what it said); None for one that did not end in time."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            ["/bin/sh", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            start_new_session=True,
        )
        try:
            code: int | None = process.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            code = None
        finally:
            with suppress(ProcessLookupError):  # what it may have left in the background must not hold the devices
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        output.seek(max(0, output.seek(0, os.SEEK_END) - OUTPUT_BYTES_MAX))
        return code, output.read().decode(errors="replace")
