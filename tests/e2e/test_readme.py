"""The README's walk-through, typed as it stands: every command succeeds and says what the README shows."""

from __future__ import annotations

import re
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from controller.errors import PairvolError
from hostagent.client import Agent
from tests.support.filesystem import run
from tests.support.processes import PROJECT, end, free_port
from tests.support.transcript import Shell, Step, read

PORTS = ("7811", "7812")
VERDICT = re.compile(r"(OK|WARN|CRIT)\b")

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.root]


def essence(lines: list[str]) -> list[str]:
    """What does not change from run to run: verdicts, and lines without figures."""
    found = [match[1] if (match := VERDICT.match(line)) else line for line in lines]
    return [" ".join(line.split()) for line in found if line and not re.search(r"\d", line)]


def end_what_is_left(directory: Path, ports: list[str]) -> None:
    """After a failure in mid-walk: unmount, detach, and end the daemons and servers by their pid files."""
    for point in (directory / "look", directory / "mnt"):
        if point.is_mount():
            run("umount", point)
    for port in ports:
        with Agent(f"127.0.0.1:{port}") as agent:
            with suppress(PairvolError):
                agent.stop_drill("db")
            with suppress(PairvolError):
                agent.detach("data")
    for pidfile in [*directory.glob("*/*.pid"), *directory.glob("*/run/*.pid")]:
        end(int(pidfile.read_text()))


def test_the_walk_through(short_path: Path) -> None:
    document = (PROJECT / "README.md").read_text()
    ports = [str(free_port()) for _ in PORTS]
    for shown, port in zip(PORTS, ports, strict=True):
        document = document.replace(shown, port)
    document = document.replace("$(mktemp -d)", str(short_path))
    steps = read(document)
    assert len(steps) > 20
    with ExitStack() as stack:
        stack.callback(end_what_is_left, short_path, ports)
        shell = stack.enter_context(Shell(PROJECT))
        for step in steps:
            code, output = shell.run(step.command)
            assert code == 0, f"exit code {code} of:\n{Step(step.command, output).text()}"
            assert essence(output) == essence(step.output), Step(step.command, output).text()
