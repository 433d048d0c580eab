"""How long the body of a request may be; longer ones are not kept, and never reach a route.

Owns the limit for every daemon of the project. A body is taken as a whole
before the application sees the request: all of them are short documents.
"""

from __future__ import annotations

from typing import Final

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from controller.api import problems
from controller.errors import UsageError

BODY_BYTES_MAX: Final = 1 << 20  # the longest is an order of a run with all the ranges that it may name
STATUS: Final = 413


def install(app: FastAPI) -> None:
    """Bound the bodies of an application's requests."""
    app.add_middleware(_Bounded)


class _Bounded:
    """Hands on requests whose body is within the limit; answers the others itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        taken = await _take(scope, receive)
        if taken is None:
            await _refuse(scope, receive, send)
            return
        await self._app(scope, _again(taken, receive), send)


async def _take(scope: Scope, receive: Receive) -> Message | None:
    """The whole body as one message, or that the client went away; None when it is too long."""
    said = dict(scope["headers"]).get(b"content-length", b"0")
    if not said.isdigit() or int(said) > BODY_BYTES_MAX:
        return None
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return message
        body += message.get("body", b"")
        if len(body) > BODY_BYTES_MAX:
            return None
        if not message.get("more_body", False):
            return {"type": "http.request", "body": bytes(body), "more_body": False}


def _again(taken: Message, receive: Receive) -> Receive:
    """Gives what was taken, then what comes after it."""
    waiting = [taken]

    async def give() -> Message:
        return waiting.pop() if waiting else await receive()

    return give


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    error = UsageError(
        f"{scope['method']} {scope['path']}: the body of the request is longer than {BODY_BYTES_MAX} bytes",
        hint="Send less at once; no command of pairvol is that long.",
        body_bytes_max=BODY_BYTES_MAX,
    )
    answer = problems.answer(error, STATUS)
    answer.headers["connection"] = "close"  # what is left of the body is not read
    await answer(scope, receive, send)
