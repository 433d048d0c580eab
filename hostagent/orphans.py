"""Which kept tail of journals a person means. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from controller.api.lifecycle import Orphan
from controller.errors import NotFoundError

LATEST: Final = "latest"


def named(orphans: Sequence[Orphan], group: str, name: str) -> Orphan:
    """The tail of that name among those that a site keeps, oldest first; `latest` is the newest."""
    if name == LATEST and orphans:
        return orphans[-1]
    for orphan in orphans:
        if orphan.name == name:
            return orphan
    names = ", ".join(each.name for each in orphans)
    hint = f"Kept are: {names}." if names else "Ask the site that was the primary before a forced takeover."
    raise NotFoundError(f"no orphan tail {name} of {group} is kept at this site", hint=hint, group=group, orphan=name)
