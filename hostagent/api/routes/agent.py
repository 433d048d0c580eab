"""/agent and /events: the agent itself, its host and its peers."""

from __future__ import annotations

import functools
import time
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

from fastapi import Query

from controller.api.late import Noun
from controller.api.models import Event
from controller.errors import PairvolError
from hostagent.api.models import AgentInfo
from hostagent.api.routes.dependencies import Here, Wait

noun = Noun(tags=["agent"])


@functools.cache
def program_version() -> str:
    try:
        return version("pairvol")
    except PackageNotFoundError:
        return "unknown"


@noun.get("/agent")
def info(host: Here) -> AgentInfo:
    """Which site this is, whether its controller and the other agents answer, and how the host is."""
    failure: str | None = None
    try:
        host.controller.site()
    except PairvolError as error:
        failure = error.message
    return AgentInfo(
        site=host.site,
        version=program_version(),
        time_ns=time.time_ns(),
        controller_ok=failure is None,
        controller_failure=failure,
        peers=host.peers.contacts(),
        host=host.monitor.facts(),
    )


@noun.get("/events")
async def events(host: Here, after: Annotated[int, Query(ge=0)] = 0, wait: Wait = 0.0) -> list[Event]:
    """Events of agent and controller numbered above `after`; when there is none, the next, within `wait` seconds."""
    return await host.events.wait_after(after, wait)
