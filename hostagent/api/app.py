"""The host agent's HTTP interface, put together. One router for each noun in hostagent/api/routes/."""

from __future__ import annotations

from fastapi import FastAPI

from controller.api import problems
from hostagent.api.routes import agent, drills, history, life, markers, metrics, pairs, peer, resize, storage
from hostagent.host import Host

PREFIX = "/v1"


def make_app(host: Host) -> FastAPI:
    app = FastAPI(title="pairvol host agent", docs_url=None, redoc_url=None)
    app.state.host = host
    problems.install(app)
    for noun in (agent, storage, life, history, resize, pairs, peer, markers, drills):
        app.include_router(noun.router, prefix=PREFIX, responses=problems.RESPONSES)
    app.include_router(metrics.router)
    return app
