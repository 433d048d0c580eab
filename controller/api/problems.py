"""Errors over HTTP: an exception becomes a Problem, a Problem becomes the same exception again.

Owns this boundary for every daemon and client of the project. The status and
the name both come from controller/errors.py; a person reads message and hint.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from controller.api.models import Problem
from controller.errors import BY_NAME, NotFoundError, PairvolError, PeerError, UsageError

MEDIA_TYPE: Final = "application/problem+json"
RESPONSES: Final[dict[int | str, dict[str, Any]]] = {"default": {"model": Problem, "description": "What went wrong."}}

_log = logging.getLogger("pairvol.api")


def problem_of(error: PairvolError) -> Problem:
    """The body that says this error; facts that JSON does not know become text."""
    facts = json.loads(json.dumps(error.facts, default=str))
    return Problem(error=type(error).__name__, message=error.message, hint=error.hint, facts=facts)


def error_of(status: int, body: bytes, who: str) -> PairvolError:
    """The exception that an error answer stands for; `who` answered."""
    try:
        problem = Problem.model_validate_json(body)
    except ValidationError:
        return PeerError(
            f"{who} answered with status {status} and no problem document", hint="Is another program listening there?"
        )
    kind = BY_NAME.get(problem.error)
    if kind is None:
        return PairvolError(problem.message, hint=problem.hint, **_keywords(problem.facts))
    return kind(problem.message, hint=problem.hint, **_keywords(problem.facts))


def install(app: FastAPI) -> None:
    """Make every error of an application a Problem."""

    async def known(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, PairvolError)
        return answer(error)

    async def invalid(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        mistake = error.errors()[0]
        where = ".".join(str(part) for part in mistake["loc"] if part != "body") or "body"
        words = str(mistake["msg"])
        message = f"{where}: {words[:1].lower()}{words[1:]}"
        return answer(UsageError(message, hint="Correct that value and try again.", field=where))

    async def routing(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        message = f"{request.method} {request.url.path}: {str(error.detail).lower()}"
        kind = NotFoundError if error.status_code == 404 else UsageError
        hint = "The two programs are probably of different versions."
        return answer(kind(message, hint=hint), error.status_code)

    async def unknown(request: Request, error: Exception) -> JSONResponse:
        _log.error("mistake in the program at %s %s", request.method, request.url.path, exc_info=error)
        hint = "This is a mistake in the program; see its log."
        return answer(PairvolError(f"{request.method} {request.url.path} failed: {error!r}", hint=hint))

    app.add_exception_handler(PairvolError, known)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, routing)
    app.add_exception_handler(Exception, unknown)


def answer(error: PairvolError, status: int | None = None) -> JSONResponse:
    """The Problem of an error, under its own status or another."""
    body = problem_of(error).model_dump(mode="json")
    return JSONResponse(body, status_code=status or error.http_status, media_type=MEDIA_TYPE)


def _keywords(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Facts never shadow the arguments that an error takes by name."""
    return {name: value for name, value in facts.items() if name not in ("message", "hint")}
