"""What one site has and the other would drop, and the refusals that speak of it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from controller.api.models import JournalState, SplitMode
from controller.errors import ConflictError
from controller.journal.pointers import Pointer
from controller.units import counted, format_size
from controller.volume.regions import REGION_BYTES
from hostagent.api.models import Attachment, Pair
from hostagent.copy_manager.lag import position


@dataclass(frozen=True, slots=True)
class Missing:
    """What the primary has and the secondary has not."""

    first: int
    last: int
    data_bytes: int

    @property
    def journals(self) -> int:
        return self.last - self.first + 1


def behind(group: str, primary: str, site: str, missing: Missing) -> ConflictError:
    size = format_size(missing.data_bytes)
    return ConflictError(
        f"cannot take over {group}: {primary} holds journals {missing.first}..{missing.last} "
        f"not yet at {site}; {primary} serves as before",
        hint=f'Wait with "pairvol pair wait {group} --state PAIR", '
        f"or add --force to drop {counted(missing.journals, 'journal')} ({size}).",
        group=group,
        first=missing.first,
        last=missing.last,
        missing_bytes=missing.data_bytes,
    )


def stopped(group: str, primary: str, site: str) -> ConflictError:
    """What hosts write while acquisition is stopped is in no journal and in no map: only a new copy brings it."""
    return ConflictError(
        f"cannot take over {group}: acquisition at {primary} is stopped, "
        f"what hosts wrote since is not at {site}; {primary} serves as before",
        hint=f'Bring it over first with "pairvol pair resync {group}", or add --force to drop it.',
        group=group,
    )


def overwritten(secondary: JournalState | None) -> int:
    """Bytes of the regions that hosts changed at a writable SVOL: a resync puts the primary's there."""
    return secondary.dirty_bytes if secondary is not None and secondary.split is SplitMode.WRITE else 0


def refuse_overwriting(pair: Pair, secondary: JournalState, *, force: bool) -> None:
    """Refuse a resync that drops what hosts wrote to the SVOL, unless that is given up."""
    changed = overwritten(secondary)
    if not changed or force:
        return
    group, site = pair.group, pair.secondary.site
    raise ConflictError(
        f"cannot resync {group}: hosts changed {format_size(changed)} at {site} while it was split; "
        f"a resync overwrites that with what {pair.primary.site} holds",
        hint=f'Add --force to drop it: "pairvol pair resync {group} --force"; to keep it instead, let {site} take '
        f'over: "pairvol pair takeover {group} --to {site} --force".',
        group=group,
        changed_bytes=changed,
    )


def refuse_dropping(pair: Pair, new: JournalState, attached: Sequence[Attachment], since: str) -> None:
    """Refuse a resync that keeps the old primary while the site that took over has writes, or hosts, of its own.

    `since`: when the last journal that both sites have was written.
    """
    if not new.dirty_bytes and not attached:
        return
    group, old, site = pair.group, pair.primary.site, pair.secondary.site
    reasons = []
    if new.dirty_bytes:
        count = counted(-(-new.dirty_bytes // REGION_BYTES), "region")
        last = position(new, Pointer.ALREADY_RESTORED).sequence
        reasons.append(f"{site} changed {format_size(new.dirty_bytes)} in {count} after journal {last} of {since}")
    if attached:
        where = ", ".join(sorted(f"{each.volume} as {each.device or each.uri}" for each in attached))
        reasons.append(f"its host has attached {where}" if reasons else f"the host of {site} has attached {where}")
    raise ConflictError(
        f"cannot resync {group}: {', and '.join(reasons)}; a resync keeps what {old} holds and overwrites that",
        hint=f'Add --force to drop it: "pairvol pair resync {group} --force"; to keep it instead, let {old} follow: '
        f'"pairvol pair resync {group} --swap".',
        group=group,
        changed_bytes=new.dirty_bytes,
    )
