"""The pair generation command: either site's agent takes it and makes both sides.

| step | a crash or failure after it leaves | the same command again |
|---|---|---|
| 1 both sides checked | nothing | begins anew |
| 2 secondary side made | a secondary group that has copied nothing; its pair is kept | finds its uuid, goes on with 3 |
| 3 primary side made: acquisition runs | a pair whose agents find each other | answers with its status |
| 4 initial copy ordered | that is the copy manager's, and repeated by it until it is done | |

Everything that can be refused is refused in step 1. What is refused in step 3
all the same (a disk filled up meanwhile) undoes step 2; when the primary does
not answer in step 3 nothing is undone, since it may have done it, and the
error says what is there.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from typing import Final, Protocol

from controller.api.models import GroupVolume, InitialCopyMethod
from controller.errors import ConflictError, PairvolError, UsageError
from hostagent.api.models import DroppedAt, Pair, PairCreate, PairState, PairStatus, SideOrder, SideReport, SiteVolumes
from hostagent.clock import now
from hostagent.commands import sides
from hostagent.compression import compressed, refuse_beside_tls
from hostagent.host import Host
from hostagent.limit import limited
from hostagent.transport import unanswered

FIRST_PAUSES: Final = (0.1, 0.2, 0.4, 0.0)  # seconds between looks at a pair that was just made


class Side(Protocol):
    """A side of a pair, here or behind the other agent."""

    def check_side(self, order: SideOrder) -> SideReport: ...

    def make_side(self, order: SideOrder) -> SideReport: ...

    def remove_side(self, group: str, uuid: str, *, force: bool, made: Sequence[str] = ()) -> list[DroppedAt]: ...


class OwnSide:
    """This site's side."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def check_side(self, order: SideOrder) -> SideReport:
        return sides.check_side(self._host, order)

    def make_side(self, order: SideOrder) -> SideReport:
        return sides.make_side(self._host, order)

    def remove_side(self, group: str, uuid: str, *, force: bool, made: Sequence[str] = ()) -> list[DroppedAt]:
        return sides.remove_side(self._host, group, uuid, force=force, made=made)


def side_at(host: Host, site: str) -> Side:
    return OwnSide(host) if site == host.site else host.peers.get(site)


def create(host: Host, order: PairCreate) -> PairStatus:
    """Make a pair; given again it goes on where it was, and takes the policy of the last command."""
    _check_order(host, order)
    refuse_beside_tls(order.policy.compression, tls=host.config.tls is not None)
    primary, secondary = side_at(host, order.primary.site), side_at(host, order.secondary.site)
    pair = _new_pair(order)
    if (kept := host.store.find(order.group)) is not None:
        sides.refuse_other(kept, pair)  # known here; the other site, which may be dead, need not be asked
    found = primary.check_side(_side_order(order, pair, order.primary, None))
    sizes = {volume.index: volume.size_bytes for volume in found.volumes}
    there = secondary.check_side(_side_order(order, pair, order.secondary, sizes))
    _refuse_unseeded(order, there)
    _refuse_earlier(order, found, there)
    pair = _known_pair(pair, found, there)
    secondary.make_side(_side_order(order, pair, order.secondary, sizes))
    try:
        primary.make_side(_side_order(order, pair, order.primary, sizes))
    except PairvolError as error:
        _undo(order, pair, secondary, there, error)
        raise
    host.events.emit(
        "info",
        "pair.created",
        f"pair {pair.group} created: {pair.primary.site} -> {pair.secondary.site}",
        {"uuid": pair.uuid},
        group=pair.group,
    )
    return _first_status(host, pair)


def _refuse_unseeded(order: PairCreate, there: SideReport) -> None:
    """Volumes that would only be made now hold nothing, whatever the order says."""
    present = {volume.name for volume in there.volumes}
    missing = [name for name in order.secondary.volumes if name not in present]
    if order.initial_copy is InitialCopyMethod.NONE and missing and there.group_uuid is None:
        raise UsageError(
            f"pair {order.group} is to begin without an initial copy,"
            f" but {order.secondary.site} has no volume {', '.join(missing)}",
            hint="Make it there and bring the primary's content into it first, or let it be copied.",
        )


def _check_order(host: Host, order: PairCreate) -> None:
    if order.primary.site == order.secondary.site:
        raise UsageError(
            f"pair {order.group} has both sides at {order.primary.site}", hint="A pair joins volumes of two sites."
        )
    if len(order.primary.volumes) != len(order.secondary.volumes):
        raise UsageError(
            f"pair {order.group} has {len(order.primary.volumes)} primary and "
            f"{len(order.secondary.volumes)} secondary volumes",
            hint="Name as many on one side as on the other, in the same order.",
        )
    if order.initial_copy is InitialCopyMethod.DIFFERENTIAL:
        raise UsageError(f"a new pair has no changed regions: {order.group}", hint="Give direct, base or none.")
    for side in (order.primary, order.secondary):
        if len(set(side.volumes)) != len(side.volumes):
            raise UsageError(f"pair {order.group} names a volume of {side.site} twice", hint="Name each once.")
        if side.site != host.site:
            host.peers.get(side.site)
    sides.own_volumes(host, _new_pair(order))


def _new_pair(order: PairCreate) -> Pair:
    return Pair(
        group=order.group,
        uuid=str(uuid.uuid4()),
        generation=sides.FIRST_GENERATION,
        primary=order.primary,
        secondary=order.secondary,
        initial_copy=order.initial_copy,
        policy=order.policy,
        created_ns=now().wall_ns,
    )


def _known_pair(wanted: Pair, *reports: SideReport) -> Pair:
    """The pair as an earlier command began it, when one did."""
    for known in (report.pair for report in reports):
        if known is not None:
            _refuse_other_on_full(known, wanted)
            limit = {"limit_bytes_per_second": known.policy.limit_bytes_per_second}
            limit["limit_serial"] = known.policy.limit_serial
            packing = known.policy.model_dump(include={"compression", "compression_serial"})
            kept = known.model_copy(update={"policy": wanted.policy.model_copy(update=limit | packing)})
            return compressed(limited(kept, wanted.policy.limit_bytes_per_second), wanted.policy.compression)
    uuids = [report.group_uuid for report in reports if report.group_uuid is not None]
    return wanted.model_copy(update={"uuid": uuids[0]}) if uuids else wanted


def _refuse_other_on_full(known: Pair, wanted: Pair) -> None:
    if known.policy.on_full is not wanted.policy.on_full:
        raise ConflictError(
            f"pair {known.group} was made with --on-full {known.policy.on_full}",
            hint="It stays as it was made; delete the pair and create it again to choose another.",
            group=known.group,
        )


def _refuse_earlier(order: PairCreate, found: SideReport, there: SideReport) -> None:
    """A secondary left of an earlier pair would believe that it is a copy of volumes that have changed since."""
    if found.group_uuid is None and there.begun:
        raise ConflictError(
            f"cannot create pair {order.group}: {there.site} still has its side of an earlier pair {order.group}, "
            f"{found.site} has not",
            hint=f'End that side first, at {there.site}: "pairvol pair delete {order.group} --force".',
            group=order.group,
        )


def _side_order(order: PairCreate, pair: Pair, side: SiteVolumes, sizes: dict[int, int] | None) -> SideOrder:
    primary = side is order.primary
    volumes = [
        GroupVolume(index=index, name=name, size_bytes=(sizes or {}).get(index, 0))
        for index, name in enumerate(side.volumes)
    ]
    return SideOrder(
        pair=pair,
        volumes=volumes,
        journal_bytes=order.journal_bytes if primary else order.secondary_journal_bytes,
        journal_volumes=order.journal_volumes if primary else order.secondary_journal_volumes,
        journal_visible=order.journal_visible,
    )


def _undo(order: PairCreate, pair: Pair, secondary: Side, there: SideReport, error: PairvolError) -> None:
    """Take back the secondary side when it is certain that the primary has none; else say what is left."""
    left = f"{order.secondary.site} has its side of {pair.group} already"
    again = f'Give the same command again, or "pairvol pair delete {pair.group} --force" at {order.secondary.site}.'
    if there.group_uuid is not None or unanswered(error):
        error.hint = f"{error.hint} {left}. {again}".strip()
        return
    try:
        before = {volume.name for volume in there.volumes}
        made = [name for name in order.secondary.volumes if name not in before]
        secondary.remove_side(pair.group, pair.uuid, force=True, made=made)
    except PairvolError as failed:
        error.hint = f"{error.hint} {left}, and it could not be removed: {failed.message}. {again}".strip()


def _first_status(host: Host, pair: Pair) -> PairStatus:
    """Let both managers meet before the first answer: a new pair is not unknown, it is copying.

    A word that is late, or an order that comes before the other side is ready
    for it, is no failure of a pair a moment old.
    """
    runner = sides.begin(host, pair)
    for pause in FIRST_PAUSES:
        runner.look()
        runner.exchange()
        status = runner.status()
        if status.state is not PairState.PSUE:
            break
        time.sleep(pause)
    return status
