"""What a primary has and a site that would take over has not, and the refusals that speak of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from controller.errors import ConflictError
from controller.units import counted, format_size


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
