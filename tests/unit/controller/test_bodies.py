"""Requests whose bodies are longer than any command are refused, in little memory, and the others are whole."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI, Request

from controller.api import bodies, problems
from controller.api.runs import RANGES_MAX, Range, RunKind, RunOrder
from controller.errors import UsageError

MIB = 1 << 20


def send(content: bytes | AsyncIterator[bytes], headers: dict[str, str] | None = None) -> httpx.Response:
    """POST it to an application that answers with the length of what came."""
    app = FastAPI()
    problems.install(app)
    bodies.install(app)

    @app.post("/length")
    async def length(request: Request) -> int:
        return len(await request.body())

    async def post() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://tokyo") as client:
            return await client.post("/length", content=content, headers=headers)

    return asyncio.run(post())


class Endless:
    """A body in pieces of one MiB that has no end; counts what was asked for."""

    def __init__(self) -> None:
        self.given = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            self.given += 1
            yield bytes(MIB)


@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB])
def test_a_body_within_the_limit_arrives_whole(size: int) -> None:
    assert send(bytes(size)).json() == size


def test_a_body_that_says_that_it_is_too_long_is_refused_with_a_problem() -> None:
    answer = send(bytes(MIB + 1))
    assert answer.status_code == 413
    assert answer.headers["content-type"] == problems.MEDIA_TYPE
    error = problems.error_of(413, answer.content, "tokyo")
    assert isinstance(error, UsageError)
    assert error.message == "POST /length: the body of the request is longer than 1048576 bytes"
    assert error.hint


@pytest.mark.parametrize("said", ["-1", "7x", "1e3"])
def test_a_length_that_is_none_is_refused(said: str) -> None:
    assert send(b"", {"content-length": said}).status_code == 413


def test_of_a_body_that_does_not_say_its_length_no_more_than_the_limit_is_taken() -> None:
    body = Endless()
    assert send(aiter(body)).status_code == 413
    assert body.given <= 3


def test_the_longest_order_there_is_fits() -> None:
    order = RunOrder(run="r" * 63, kind=RunKind.REPAIR, ranges=[Range(63, 1 << 45, 1 << 45)] * RANGES_MAX)
    content = order.model_dump_json().encode()
    assert send(content).json() == len(content)
    assert RunOrder.model_validate(json.loads(content)) == order
