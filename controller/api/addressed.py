"""To which site a request is addressed: a daemon of another one refuses it, and does nothing.

An address in a configuration file may be a slip of the pen, or may have gone
to another machine since. Without this, orders meant for one site would be
carried out at another that has volumes and groups of the same names.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Final

from fastapi import Header

from controller.addresses import SITE_HEADER
from controller.errors import WrongSiteError

HINT: Final = "Correct its address in the configuration of who asked."


def addressed_to(site: str) -> Callable[[str | None], Awaitable[None]]:
    """A dependency of routes: refuses what is addressed to another site. Who names none is a person."""

    async def check(named: Annotated[str | None, Header(alias=SITE_HEADER)] = None) -> None:
        if named is not None and named != site:
            raise WrongSiteError(f"site {site} answers there, not {named}", hint=HINT)

    return check
