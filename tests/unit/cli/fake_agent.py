"""An agent of canned answers: real HTTP, real shapes, no sites behind it."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from controller.api.models import Event, PoolVolume, Problem, Volume
from controller.errors import PairvolError
from hostagent.api.models import AgentInfo, Attachment, Pair, PairStatus
from tests.support.waiting import wait_until

HELD_SECONDS = 10.0


@dataclass
class FakeAgent:
    """What to answer, and what was asked. `statuses` are handed out one after the other; the last one stays."""

    info: AgentInfo
    statuses: list[PairStatus] = field(default_factory=list)
    pairs: list[Pair] = field(default_factory=list)
    volumes: list[Volume] = field(default_factory=list)
    pool: list[PoolVolume] = field(default_factory=list)
    attachment: Attachment | None = None
    events: list[Event] = field(default_factory=list)
    answers: dict[str, Any] = field(default_factory=dict)  # "METHOD /path" -> JSON, or an error
    refusal: PairvolError | None = None
    held: threading.Event | None = None  # orders are not answered before
    requests: list[tuple[str, str, Any]] = field(default_factory=list)
    url: str = ""

    def next_status(self) -> PairStatus:
        return self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]


class RunningAgent:
    """Serves whatever FakeAgent is `agent` now, on a loopback port, until `stop`."""

    def __init__(self) -> None:
        self.agent = FakeAgent(info())
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._server = uvicorn.Server(uvicorn.Config(self._application(), log_level="error", lifespan="off"))
        self._thread = threading.Thread(target=self._server.run, args=([self._listener],), daemon=True)
        self._thread.start()
        wait_until(lambda: self._server.started, 10, "the fake agent to start")

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        self._listener.close()

    def _application(self) -> FastAPI:
        app = FastAPI(openapi_url=None)

        @app.middleware("http")
        async def refuse(request: Request, call_next: Any) -> Response:
            body = await request.json() if await request.body() else None
            query = f"?{request.url.query}" if request.url.query else ""
            self.agent.requests.append((request.method, request.url.path + query, body))
            if self.agent.held is not None and request.method != "GET":
                await asyncio.to_thread(self.agent.held.wait, HELD_SECONDS)
            known = self.agent.answers.get(f"{request.method} {request.url.path}")
            error = self.agent.refusal or (known if isinstance(known, PairvolError) else None)
            if error is not None:
                problem = Problem(error=type(error).__name__, message=error.message, hint=error.hint)
                return JSONResponse(problem.model_dump(), error.http_status)
            answer: Response = await call_next(request)
            return answer

        app.get("/v1/agent")(lambda: self.agent.info)
        app.get("/v1/pairs")(lambda: self.agent.pairs)
        app.get("/v1/pairs/status")(lambda: self.agent.statuses)
        app.get("/v1/pairs/{group}/status")(lambda group: self.agent.next_status())
        app.post("/v1/pairs")(lambda: self.agent.next_status())
        app.get("/v1/volumes")(lambda: self.agent.volumes)
        app.get("/v1/volumes/{name}")(lambda name: next(v for v in self.agent.volumes if v.name == name))
        app.get("/v1/attachments")(lambda: [self.agent.attachment] if self.agent.attachment else [])
        app.post("/v1/volumes/{name}/attach")(lambda name: self.agent.attachment)
        app.get("/v1/pool")(lambda: self.agent.pool)
        app.get("/v1/events")(lambda after=0: [event for event in self.agent.events if event.number > int(after)])

        @app.api_route("/{path:path}", methods=["GET", "POST", "DELETE"])
        def anything(path: str, request: Request) -> Any:
            return self.agent.answers.get(f"{request.method} /{path}")

        return app


def info(**changes: Any) -> AgentInfo:
    values = {"site": "tokyo", "version": "0.1.0", "time_ns": time.time_ns(), "controller_ok": True, "peers": []}
    return AgentInfo.model_validate(values | changes)
