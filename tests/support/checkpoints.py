"""Checkpoints on command, for who compares backing stores and does not want to wait for the next one."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from controller import control_client
from controller.errors import PairvolError
from hostagent.cli.demo.sites import Site

ANSWER_SECONDS = 5.0


def take_checkpoints(site: Site) -> None:
    """Let every volume server of a site bring what it journaled to its stores; one that does not answer is passed."""
    for control in Path(site.directory, "run").glob("*.ctl"):
        with suppress(PairvolError):
            control_client.command(control, "checkpoint", ANSWER_SECONDS)
