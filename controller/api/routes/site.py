"""/site, /events and /shutdown: the controller itself."""

from __future__ import annotations

import functools
import time
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

from fastapi import Query, Request

from controller.api.late import Noun
from controller.api.models import Event, SiteInfo
from controller.api.routes.dependencies import Here, Wait

noun = Noun(tags=["site"])


@functools.cache
def program_version() -> str:
    try:
        return version("pairvol")
    except PackageNotFoundError:
        return "unknown"


@noun.get("/site")
async def site(appliance: Here) -> SiteInfo:
    """Which site this is, and how much is here."""
    document = appliance.store.document
    return SiteInfo(
        site=document.site,
        version=program_version(),
        time_ns=time.time_ns(),
        volumes=len(document.volumes),
        groups=len(document.groups),
    )


@noun.get("/events")
async def events(appliance: Here, after: Annotated[int, Query(ge=0)] = 0, wait: Wait = 0.0) -> list[Event]:
    """Events numbered above `after`; when there is none, the next one, within `wait` seconds."""
    return await appliance.events.wait_after(after, wait)


@noun.post("/shutdown", status_code=202)
async def shutdown(request: Request, servers: bool = True) -> None:
    """End the controller; with `servers` (the default) also every nbdkit process that it keeps."""
    request.app.state.request_shutdown(servers)
