"""Shell transcripts in documents: read, run again in one shell, and held against what they showed.

A transcript is a fenced block whose commands begin with `$ ` and go on with
`> `; other lines are output. `python -m tests.support.transcript FILE` runs
the transcripts of a file again and prints them as they are now.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.processes import PROJECT
from tests.support.waiting import wait_until

COMMAND_SECONDS = 120.0


@dataclass
class Step:
    command: str
    output: list[str] = field(default_factory=list)

    def text(self) -> str:
        first, *rest = self.command.split("\n")
        return "\n".join([f"$ {first}", *(f"> {line}" for line in rest), *self.output])


def read(document: str) -> list[Step]:
    """Steps of every fenced block that begins with a command."""
    steps: list[Step] = []
    for block in re.findall(r"^```\n(\$ .*?)^```$", document, re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                steps.append(Step(line[2:]))
            elif line.startswith("> ") and not steps[-1].output:
                steps[-1].command += "\n" + line[2:]
            else:
                steps[-1].output.append(line)
    return steps


class Shell:
    """One bash that keeps its variables, functions and folder from command to command."""

    def __init__(self, directory: Path) -> None:
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        self._done_read, self._done_write = os.pipe()
        os.set_blocking(self._done_read, False)
        self._bash = subprocess.Popen(
            ["bash", "--norc"],
            cwd=directory,
            stdin=subprocess.PIPE,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            pass_fds=[self._done_write],
            start_new_session=True,
        )

    def run(self, command: str) -> tuple[int, list[str]]:
        """Exit code and lines of output, errors among them."""
        assert self._bash.stdin is not None
        self._output.seek(0, os.SEEK_END)
        start = self._output.tell()
        self._bash.stdin.write(f"{command}\necho $? >&{self._done_write}\n".encode())
        self._bash.stdin.flush()
        code = int(wait_until(self._ended, COMMAND_SECONDS, f"the end of {command!r}"))
        self._output.seek(start)
        return code, self._output.read().decode().splitlines()

    def _ended(self) -> bytes:
        try:
            return os.read(self._done_read, 100)
        except BlockingIOError:
            assert self._bash.poll() is None, "the shell ended"
            return b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._bash.stdin is not None
        self._bash.stdin.close()
        self._bash.wait(30)
        self._output.close()
        os.close(self._done_read)
        os.close(self._done_write)


def main() -> None:
    with Shell(PROJECT) as shell:
        for step in read(Path(sys.argv[1]).read_text()):
            _, output = shell.run(step.command)
            print(Step(step.command, output).text(), flush=True)


if __name__ == "__main__":
    main()
