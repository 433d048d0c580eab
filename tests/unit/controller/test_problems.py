"""Every error crosses HTTP and comes out as it went in."""

from __future__ import annotations

import asyncio
from typing import Protocol

import httpx
import pytest
from fastapi import FastAPI

from controller.api import problems
from controller.api.models import VolumeCreate
from controller.api.shape import build
from controller.errors import BY_NAME, ConflictError, NotFoundError, PairvolError, PeerError, UsageError


class Asked(Protocol):
    """Sends one request to the application of this test."""

    def __call__(self, method: str, path: str, body: object = None) -> httpx.Response: ...


@pytest.fixture
def ask() -> Asked:
    app = FastAPI()
    problems.install(app)

    @app.get("/raise/{name}")
    def fail(name: str) -> None:
        raise BY_NAME[name]("cannot do it", hint="Do that.", sequence=7, path="/x")

    @app.get("/mistake")
    def mistake() -> None:
        raise ZeroDivisionError

    build([VolumeCreate])

    @app.post("/volumes")
    def take(request: VolumeCreate) -> None: ...

    async def send(method: str, path: str, body: object) -> httpx.Response:
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://tokyo") as client:
            return await client.request(method, path, json=body)

    return lambda method, path, body=None: asyncio.run(send(method, path, body))


def back(response: httpx.Response) -> PairvolError:
    assert response.headers["content-type"] == problems.MEDIA_TYPE
    return problems.error_of(response.status_code, response.content, "tokyo")


@pytest.mark.parametrize("name", BY_NAME)
def test_an_error_comes_back_as_itself(ask: Asked, name: str) -> None:
    response = ask("GET", f"/raise/{name}")
    error = back(response)
    assert response.status_code == BY_NAME[name].http_status
    assert type(error) is BY_NAME[name]
    assert (error.message, error.hint, error.facts) == ("cannot do it", "Do that.", {"sequence": 7, "path": "/x"})


def test_a_request_that_makes_no_sense_is_a_usage_error(ask: Asked) -> None:
    error = back(ask("POST", "/volumes", {"name": "a b", "size_bytes": 1}))
    assert isinstance(error, UsageError)
    assert error.message.startswith("name: string should match pattern")
    error = back(ask("POST", "/volumes", {"name": "a", "size_bytes": 1, "colour": "red"}))
    assert error.message == "colour: extra inputs are not permitted"


def test_an_unknown_path_and_a_mistake_in_the_program_are_problems_too(ask: Asked) -> None:
    assert isinstance(back(ask("GET", "/nowhere")), NotFoundError)
    assert isinstance(back(ask("PUT", "/volumes")), UsageError)
    error = back(ask("GET", "/mistake"))
    assert type(error) is PairvolError
    assert "ZeroDivisionError" in error.message


def test_an_answer_of_another_program_is_a_peer_error() -> None:
    error = problems.error_of(404, b"<html>", "tokyo")
    assert isinstance(error, PeerError)
    assert error.message == "tokyo answered with status 404 and no problem document"


def test_facts_never_shadow_the_message() -> None:
    body = problems.problem_of(ConflictError("busy")).model_copy(
        update={"facts": {"message": "x", "hint": "y", "n": 1}}
    )
    error = problems.error_of(409, body.model_dump_json().encode(), "tokyo")
    assert (error.message, error.facts) == ("busy", {"n": 1})
