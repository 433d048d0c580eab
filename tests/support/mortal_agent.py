"""A host agent that dies at a chosen step of a command: python -m tests.support.mortal_agent CONFIG

A step is a call, made by a command and not by the copy manager's own thread,
that leaves something behind outside the thread: the pairs kept, an order to
the controller or to the other agent, a device. How it is told when to die is
tests/support/mortal.py's. PAIRVOL_MUTANT makes one mistake, for the controls.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from controller.api.client import ControllerClient
from controller.api.markers import MarkerOrder, NamedMarker
from controller.api.models import Group
from controller.errors import NotFoundError
from hostagent import daemon
from hostagent.api.models import Pair, PairDeletion
from hostagent.api.verify import VerifyReport
from hostagent.api.volumes import JournalSize, ResizeSide, SideMembers
from hostagent.attach.devices import Devices
from hostagent.commands import delete, members, resize, sides, verify
from hostagent.copy_manager.runner import PairRunner
from hostagent.host import Host
from hostagent.pairs import PairStore
from hostagent.peers import AgentClient
from tests.support.mortal import Death, wrap

STEPS: Final = (
    (PairStore, ("_write",)),
    (PairRunner, ("order_resync",)),
    (Devices, ("attach", "detach")),
    (
        ControllerClient,
        (
            *("create_volume", "delete_volume", "create_group", "delete_group", "set_acquisition", "order_restore"),
            *("purge", "take_over", "fence", "suspend", "resume", "split", "serve", "start_drill", "stamp_drill"),
            *("stop_drill", "join_volumes", "leave_volumes", "resize_volume", "resize_journal", "put_marker"),
            *("order_run", "order_copy"),
        ),
    ),
    (
        AgentClient,
        (
            *("make_side", "remove_side", "serve", "fence", "take_over", "split", "resync", "split_side"),
            *(
                "resync_side",
                "journal_command",
                "start_drill",
                "confirm_drill",
                "stop_drill",
                "join",
                "leave",
                "keep_members",
            ),
            *("resize_volume", "resize_journal", "put_marker", "verify"),
        ),
    ),
)


class DeathOfCommands(Death):
    """Of what the copy manager does by itself nothing counts: it comes at any time."""

    def step(self, name: str, *, named: bool = False) -> None:
        if not threading.current_thread().name.startswith("pair "):
            super().step(name, named=named)


def forgets(store: PairStore, pairs: object) -> None:
    """Keeps the pairs in memory only."""
    store._pairs = pairs  # type: ignore[assignment]


def forgets_first(host: Host, group: str, *, force: bool) -> PairDeletion:
    """Ends a pair in the wrong order: nobody knows any more what is left to be deleted."""
    pair = host.store.get(group)
    sides.forget(host, group, pair.uuid)
    site = pair.secondary.site if pair.primary.site == host.site else pair.primary.site
    host.peers.get(site).remove_side(group, pair.uuid, force=force)
    with sides.at_rest(host, pair):
        dropped = sides.remove_group(host, group, pair.uuid, force=force)
    return PairDeletion(group=group, dropped=dropped, left=None)


def denies(host: Host, pair: Pair, names: Sequence[str], here: SideMembers, there: SideMembers) -> list[int]:
    """Knows a volume that leaves by its groups alone, not by what the agents keep."""
    found = [members._find(side.group, name) for name in names for side in (here, there)]
    if all(index is None for index in found):
        raise NotFoundError(f"volume {names[0]} is not in group {pair.group}")
    return [index for index in set(found) if index is not None]


def moves_one(host: Host, pair: Pair, side: ResizeSide, order: JournalSize) -> Group:
    """Moves the primary's journal whichever is meant."""
    return _journal_at(host, pair, ResizeSide.PRIMARY, order)


def marks_twice(client: ControllerClient, group: str, order: MarkerOrder) -> NamedMarker:
    _put_marker(client, group, order)
    return _put_marker(client, group, order)


def cancels_nothing(host: Host, group: str) -> VerifyReport:
    return verify.report(host, group)


_journal_at, _put_marker = resize._journal_at, ControllerClient.put_marker
MUTANTS: Final[dict[str, tuple[Any, str, Callable[..., Any]]]] = {
    "forgets": (PairStore, "_write", forgets),
    "forgets-first": (delete, "delete", forgets_first),
    "denies": (members, "_indices_of", denies),
    "moves-one": (resize, "_journal_at", moves_one),
    "marks-twice": (ControllerClient, "put_marker", marks_twice),
    "cancels-nothing": (verify, "_cancel", cancels_nothing),
}


def main(config: str) -> None:
    mutant = MUTANTS.get(os.environ.get("PAIRVOL_MUTANT", ""))
    if mutant is not None:
        setattr(*mutant)
    death = DeathOfCommands(Path(config).with_suffix(".die"))
    for owner, names in STEPS:
        for name in names:
            wrap(owner, name, death)
    daemon.run(config)


if __name__ == "__main__":
    main(sys.argv[1])
