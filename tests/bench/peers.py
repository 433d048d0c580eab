"""The stores that are measured: each serves one volume of the same size, filled before.

A peer is an NBD address and what must hold around a run: `before` waits until
it is what it claims to be (paired, quiet), `after` checks that it still is,
and waits until nothing of the run is left to do: it would be done in the time
of the next one.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controller.api.models import AcquisitionMode, PoolAdd, VolumeCreate
from hostagent.api.models import PairCreate, PairState, PairStatus, SiteVolumes
from hostagent.cli.demo.sites import TwoSites
from hostagent.client import Agent
from tests.support.nbdkit import running_nbdkit
from tests.support.processes import Processes
from tests.support.waiting import wait_until

MIB = 1 << 20
VOLUME_BYTES = 512 * MIB
JOURNAL_BYTES = 1024 * MIB
PIECE_BYTES = 4096  # what files are filled in: as a host leaves them that writes here and there
NEW = 0  # in place of that: files are not filled, and journals are as pairvol makes them


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Peer:
    name: str
    uri: str
    before: Callable[[], None] = _nothing
    after: Callable[[], None] = _nothing


def filled_file(path: Path, size_bytes: int = VOLUME_BYTES, piece_bytes: int = PIECE_BYTES) -> Path:
    """A file without holes, on disk: nobody is measured while blocks are allocated, unless it is to be NEW.

    The page cache keeps it in pieces as large as the writes were, and a small
    write into a large piece costs the kernel several times as much.
    """
    piece = os.urandom(piece_bytes)
    with path.open("wb", buffering=0) as file:
        for _ in range(size_bytes // piece_bytes if piece_bytes != NEW else 0):
            file.write(piece)
        file.truncate(size_bytes)
        os.fsync(file.fileno())
    return path


def allocated_pool_volume(agent: Agent, directory: Path, name: str) -> str:
    """A pool volume whose every block was written once, in pieces, as a journal is after its first time round."""
    path = filled_file(directory / f"{name}.journal", JOURNAL_BYTES)
    return agent.add_to_pool(PoolAdd(name=name, path=str(path))).name


def nbdkit_file(stack: ExitStack, processes: Processes, directory: Path, piece_bytes: int) -> Peer:
    """The bare limit: stock nbdkit on a plain file, no replication."""
    backing = filled_file(directory / "plain.img", piece_bytes=piece_bytes)
    return Peer(
        "nbdkit file", stack.enter_context(running_nbdkit(processes, directory / "plain.sock", "file", backing))
    )


def pairvol_unpaired(agent: Agent, directory: Path, piece_bytes: int) -> Peer:
    """A volume of ours in no group: no journal."""
    backing = filled_file(directory / "unpaired.img", piece_bytes=piece_bytes)
    order = VolumeCreate(name="unpaired", size_bytes=VOLUME_BYTES, backing=str(backing))
    return Peer("unpaired", served_uri(agent, agent.create_volume(order).name))


def pairvol_paired(sites: TwoSites, first: Agent, second: Agent, directory: Path, piece_bytes: int) -> Peer:
    """A volume that is replicated to a second site on this machine while it is measured."""
    backing = filled_file(directory / "paired.img", piece_bytes=piece_bytes)
    first.create_volume(VolumeCreate(name="paired", size_bytes=VOLUME_BYTES, backing=str(backing)))
    journals: dict[str, Any] = {"journal_bytes": JOURNAL_BYTES, "secondary_journal_bytes": JOURNAL_BYTES}
    if piece_bytes != NEW:
        journals = {
            "journal_volumes": [allocated_pool_volume(first, directory, "first")],
            "secondary_journal_volumes": [allocated_pool_volume(second, sites.secondary.directory, "second")],
        }
    first.create_pair(
        PairCreate(
            group="bench",
            primary=SiteVolumes(site=sites.primary.name, volumes=["paired"]),
            secondary=SiteVolumes(site=sites.secondary.name, volumes=["paired"]),
            **journals,
        )
    )

    def quiet() -> bool:
        status = first.pair_status("bench")
        return status.state == PairState.PAIR and not behind(status)

    def before() -> None:
        wait_until(quiet, 120, "the pair to be protected, with nothing on its way", interval=0.1)

    def settled() -> bool:
        state = first.journal("bench").primary
        if state is None or state.mode != AcquisitionMode.JOURNAL:
            raise RuntimeError(f"the pair stopped journaling while it was measured: {state}")
        return state.pointers["checkpoint"].sequence == state.pointers["durable"].sequence and quiet()

    def after() -> None:
        wait_until(settled, 120, "everything that was written to be restored and in a checkpoint", interval=0.1)

    before()
    return Peer("paired", served_uri(first, "paired"), before, after)


def behind(status: PairStatus) -> int:
    """Journals that the secondary lacks; a side that does not answer counts as one."""
    sequences = [side.sequence for side in status.sides]
    known = [sequence for sequence in sequences if sequence is not None]
    return max(known) - min(known) if len(known) == len(sequences) else 1


def served_uri(agent: Agent, volume: str) -> str:
    return wait_until(lambda: agent.volume(volume).uri, 30, f"volume {volume} to be served") or ""
