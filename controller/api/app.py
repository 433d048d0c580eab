"""The controller's HTTP interface, put together. One module for each noun in controller/api/routes/."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import Depends, FastAPI

from controller.api import bodies, problems
from controller.api.addressed import addressed_to
from controller.api.routes import drills, drivers, groups, lifecycle, markers, metrics, pool, runs, site, volumes
from controller.appliance import Appliance

PREFIX = "/v1"


def make_app(appliance: Appliance, request_shutdown: Callable[[bool], None]) -> FastAPI:
    """The application. `request_shutdown(stop_servers)` ends the daemon after the answer is sent."""
    mine = [Depends(addressed_to(appliance.config.site))]
    app = FastAPI(title="pairvol storage controller", docs_url=None, redoc_url=None, dependencies=mine)
    app.state.appliance = appliance
    app.state.request_shutdown = request_shutdown
    problems.install(app)
    bodies.install(app)
    guard = [Depends(drivers.driven)]  # what a copy manager orders is taken only while it drives
    for module in (site, pool, volumes, groups, lifecycle, drivers, markers, drills, runs):
        module.noun.install(app, prefix=PREFIX, responses=problems.RESPONSES, guard=guard)
    metrics.noun.install(app)
    return app
