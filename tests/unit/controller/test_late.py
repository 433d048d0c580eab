"""Routes are built once, when they are first asked for, and then are FastAPI's own."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from fastapi import Depends, FastAPI
from fastapi.routing import APIRoute

import controller.api.app
import hostagent.api.app
from controller.api.late import LateRoute, Noun
from controller.api.models import Position


def application(daemon: str) -> FastAPI:
    if daemon == "agent":
        return hostagent.api.app.make_app(cast(Any, SimpleNamespace(site="tokyo", stand_ins=())))
    appliance = SimpleNamespace(config=SimpleNamespace(site="tokyo"))
    return controller.api.app.make_app(cast(Any, appliance), lambda stop_servers: None)


def ask(app: FastAPI, method: str, path: str, body: object = None) -> httpx.Response:
    async def send() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://tokyo") as client:
            return await client.request(method, path, json=body)

    return asyncio.run(send())


def late(app: FastAPI) -> list[LateRoute]:
    return [route for route in app.router.routes if isinstance(route, LateRoute)]


@pytest.mark.parametrize("daemon", ["agent", "controller"])
def test_every_route_of_a_daemon_can_be_built_and_is_in_the_document(daemon: str) -> None:
    app = application(daemon)
    document = app.openapi()
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    declared = [(method, route.path) for route in late(app) for method in route.methods or ()]
    assert described == {*declared}
    assert len(described) == len(declared) > 40


@pytest.mark.parametrize("daemon", ["agent", "controller"])
def test_a_daemon_that_starts_builds_no_route_and_no_shape(daemon: str) -> None:
    code = f"""
from tests.unit.controller.test_late import application, late
from controller.api.shape import Shape
app = application({daemon!r})
print(any("dependant" in route.__dict__ for route in late(app)))
print([shape.__name__ for shape in Shape.__subclasses__() if shape.__pydantic_complete__])
"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.split("\n") == ["False", "[]", ""]


def test_dependencies_come_in_order_before_the_endpoint() -> None:
    called: list[str] = []

    def note(name: str) -> Any:
        async def dependency() -> None:
            called.append(name)

        return Depends(dependency)

    noun = Noun("/places", tags=["places"])

    @noun.put("/{place}", status_code=202, tags=["more"], dependencies=[note("route")])
    async def put(place: int, position: Position) -> list[Position]:
        called.append("endpoint")
        return [position] * place

    app = FastAPI(dependencies=[note("application")])
    noun.install(app, prefix="/v1", guard=[note("guard")])
    answer = ask(app, "PUT", "/v1/places/2", {"sequence": 7})
    assert called == ["application", "guard", "route", "endpoint"]
    assert (answer.status_code, [each["sequence"] for each in answer.json()]) == (202, [7, 7])
    (operation,) = app.openapi()["paths"]["/v1/places/{place}"].values()
    assert operation["tags"] == ["places", "more"]
    assert ask(app, "PUT", "/v1/places/2", {"sequence": -1}).status_code == 422
    assert ask(app, "PUT", "/v1/places/2", {"colour": "red"}).status_code == 422
    assert ask(app, "PUT", "/v1/places/x", {}).status_code == 422
    assert ask(app, "POST", "/v1/places/2", {}).status_code == 405
    assert ask(app, "PUT", "/v1/places", {}).status_code == 404


def test_a_route_that_is_asked_again_is_the_same_and_what_it_lacks_is_an_error() -> None:
    noun = Noun()

    @noun.get("/one")
    async def one() -> int:
        return 1

    app = FastAPI()
    noun.install(app)
    (route,) = late(app)
    assert isinstance(route, APIRoute)
    assert ask(app, "GET", "/one").json() == 1
    built = route.dependant
    assert ask(app, "GET", "/one").json() == 1
    assert route.dependant is built
    with pytest.raises(AttributeError):
        _ = route.nonsense
