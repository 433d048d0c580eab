"""A command given to an agent that stands by goes to the one that drives (HOSTS.md).

Owns that hand-over, as it came over HTTP and once only. Must not know what
any command does. When the driver does not answer, the lease is claimed, and
the command is carried out here if this agent drives then.
"""

from __future__ import annotations

import time
from typing import Final

import httpx
from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool

from controller.errors import ConflictError, NotFoundError, PeerError
from hostagent.api.routes.dependencies import Here
from hostagent.client import TAKEOVER_SECONDS
from hostagent.copy_manager.runner import PairRunner
from hostagent.host import Host

RELAYED: Final = "pairvol-relayed"
CLAIM_SECONDS: Final = 2.0  # beyond the lease of a driver that is gone
AGAIN_SECONDS: Final = 0.3


class RelayedError(Exception):
    """Not an error: another host's answer is the answer."""

    def __init__(self, answer: httpx.Response) -> None:
        super().__init__(answer.status_code)
        self.answer = answer


def install(app: FastAPI) -> None:
    async def relayed(_: Request, error: Exception) -> Response:
        assert isinstance(error, RelayedError)
        kind = error.answer.headers.get("content-type")
        return Response(error.answer.content, error.answer.status_code, media_type=kind)

    app.add_exception_handler(RelayedError, relayed)


async def by_driver(request: Request, host: Here) -> None:
    """Let the command go on here only if this agent drives the pair; a stand-in never hands on."""
    group = request.path_params.get("group")
    runner = host.runners.find(group) if group is not None and request.method != "GET" else None
    if runner is None or host.stands_in or not runner.driving.stands_by:
        return
    if request.headers.get(RELAYED) is not None:
        raise ConflictError(
            f"{host.config.host_name} does not drive {group} any more",
            hint="Give the command again; another host drives by now.",
            group=group,
        )
    body = await request.body()
    answer = await run_in_threadpool(_relay, host, runner, request, body)
    if answer is not None:
        raise RelayedError(answer)


def relay(host: Host, name: str, request: Request, body: bytes) -> httpx.Response:
    """Give a request to another host of this site; PeerError when it does not answer."""
    channel = host.hosts.get(name)
    if channel is None:
        known = ", ".join(sorted([host.config.host_name, *host.hosts]))
        raise NotFoundError(
            f"host {name} is not known at {host.config.host_name}",
            hint=f"Known are {known}; add [hosts.{name}] to the agent's configuration.",
            host=name,
        )
    return channel.relay(request.method, request.url.path, request.url.query, body, RELAYED, TAKEOVER_SECONDS)


def _relay(host: Host, runner: PairRunner, request: Request, body: bytes) -> httpx.Response | None:
    """The driver's answer; None when this agent drives by now. A driver that is gone is waited out."""
    deadline = time.monotonic() + host.config.copying.driver_seconds + CLAIM_SECONDS
    while True:
        driver = runner.driving.driver
        try:
            if driver is not None and driver != host.config.host_name:
                return relay(host, driver, request, body)
        except PeerError as error:
            gone = isinstance(error.__cause__, httpx.ConnectError | httpx.ConnectTimeout)
            if not gone or time.monotonic() >= deadline:
                raise PeerError(
                    f"{driver} drives {runner.group} and does not answer: {error.message}",
                    hint="It may have done it all the same; look, and give the command again.",
                    group=runner.group,
                    driver=driver,
                ) from error
        if runner.take_seat():
            return None
        runner.pause(AGAIN_SECONDS)
