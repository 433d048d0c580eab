"""A mounted ext4 on an attached volume, and the programs around it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from hostagent.api.models import AttachOrder
from hostagent.client import Agent


def run(*words: str | Path) -> bytes:
    """Output of a program that must succeed."""
    answer = subprocess.run([str(word) for word in words], capture_output=True, check=False)
    assert answer.returncode == 0, f"{words}: {answer.stdout.decode()}{answer.stderr.decode()}"
    return answer.stdout


@contextmanager
def mounted_ext4(agent: Agent, volume: str, point: Path) -> Iterator[Path]:
    """Attach, mkfs and mount; unmount and detach at the end."""
    with ExitStack() as stack:
        device = agent.attach(AttachOrder(volume=volume)).device
        assert device is not None
        stack.callback(agent.detach, volume)
        run("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", device)
        point.mkdir()
        run("mount", device, point)
        stack.callback(run, "umount", point)
        yield point
