"""What every route needs from the application it runs in."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query, Request

from controller.appliance import Appliance

WAIT_SECONDS_MAX = 60.0


async def _appliance(request: Request) -> Appliance:
    appliance: Appliance = request.app.state.appliance
    return appliance


Here = Annotated[Appliance, Depends(_appliance)]
Wait = Annotated[float, Query(ge=0, le=WAIT_SECONDS_MAX, description="Seconds to wait for something new.")]
