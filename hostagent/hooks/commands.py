"""The user's commands before and after a moment: given to a shell, bounded in time together."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

from controller.errors import ConflictError

WORDS_MAX: Final = 400


def run_all(commands: Sequence[str], seconds: float, environment: Mapping[str, str]) -> None:
    """Run them in order; ConflictError names the first that fails or does not end in time."""
    deadline = time.monotonic() + seconds
    for command in commands:
        code, said = _run(command, deadline - time.monotonic(), environment)
        if code != 0:
            how = f"did not end within {seconds:g} s" if code is None else f"failed with exit code {code}"
            stage = environment["PAIRVOL_STAGE"]
            raise ConflictError(
                f"hook {stage} {how}: {command}{': ' + said if said else ''}",
                hint=f"Correct {stage} of [hooks] in the agent's configuration.",
                command=command,
                exit_code=code,
            )


def _run(command: str, seconds: float, environment: Mapping[str, str]) -> tuple[int | None, str]:
    """(exit code, last words); None for one that did not end in time, and was killed with all that it started."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            ["/bin/sh", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | environment,
            start_new_session=True,
        )
        code: int | None
        try:
            code = process.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            code = None
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        output.seek(max(0, output.seek(0, os.SEEK_END) - WORDS_MAX))
        return code, " ".join(output.read().decode(errors="replace").split())
