"""What both daemons run in: one HTTP server that leaves signals alone and sleeps when nothing comes, and one log.

Knows nothing of what is served.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import Iterator
from typing import Any, Final

import uvicorn

GRACE_SECONDS: Final = 2  # for requests under way when the daemon ends; long polls are cut


class QuietServer(uvicorn.Server):
    """uvicorn, leaving signals to the daemon, and waking once a second instead of ten times."""

    def __init__(self, app: Any) -> None:
        super().__init__(
            uvicorn.Config(
                app, log_level="warning", access_log=False, lifespan="off", timeout_graceful_shutdown=GRACE_SECONDS
            )
        )
        self._end = asyncio.Event()

    def end(self) -> None:
        """Let `serve` return after the requests under way; call it in the event loop's thread."""
        self.should_exit = True
        self._end.set()

    async def main_loop(self) -> None:
        while not await self.on_tick(0):  # tick 0 of ten renews the Date header
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._end.wait(), 1.0)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def log_to_stderr() -> None:
    """One line for each message with its time, and only warnings of libraries that talk much."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for talkative in ("httpx", "pyroute2"):
        logging.getLogger(talkative).setLevel(logging.WARNING)
