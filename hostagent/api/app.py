"""The host agent's HTTP interface, put together. One module for each noun in hostagent/api/routes/."""

from __future__ import annotations

from fastapi import Depends, FastAPI

from controller.api import bodies, problems
from controller.api.addressed import addressed_to
from hostagent.api import forward
from hostagent.api.routes import (
    agent,
    drills,
    history,
    life,
    markers,
    members,
    metrics,
    pairs,
    peer,
    quiet,
    resize,
    storage,
    verify,
)
from hostagent.host import Host
from hostagent.peers import stand_in_prefix

PREFIX = "/v1"


def make_app(host: Host) -> FastAPI:
    mine = [Depends(addressed_to(host.site))]
    app = FastAPI(title="pairvol host agent", docs_url=None, redoc_url=None, dependencies=mine)
    app.state.host = host
    problems.install(app)
    bodies.install(app)
    forward.install(app)
    guard = [Depends(forward.by_driver)]
    for module in (agent, storage, life, history, resize, members, verify, pairs, peer, markers, drills):
        module.noun.install(app, prefix=PREFIX, responses=problems.RESPONSES, guard=guard)
    quiet.noun.install(app, prefix=PREFIX, responses=problems.RESPONSES)
    metrics.noun.install(app)
    for each in host.stand_ins:
        app.mount(stand_in_prefix(each.site), make_app(each))
    return app
