"""What every route needs from the application it runs in."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query, Request

from hostagent.host import Host

WAIT_SECONDS_MAX = 60.0


async def _host(request: Request) -> Host:
    host: Host = request.app.state.host
    return host


Here = Annotated[Host, Depends(_host)]
Wait = Annotated[float, Query(ge=0, le=WAIT_SECONDS_MAX, description="Seconds to wait for something new.")]
