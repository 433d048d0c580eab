"""The event log: what happened, once, in order, for people and for agents.

Owns numbering, the ring that answers questions, and a file of JSON lines that
survives restarts and is bounded by rotation. Must not decide anything. Any
thread may emit; waiting is for coroutines. An event is not synced to disk:
it tells of state that is durable elsewhere.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from controller.api.models import Event

RING_EVENTS: Final = 2000
FILE_BYTES_MAX: Final = 1 << 20

_log = logging.getLogger("pairvol.events")
_LEVELS: Final = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class Events:
    """Numbered events from 1, also over restarts."""

    def __init__(self, path: Path, site: str, bytes_max: int = FILE_BYTES_MAX) -> None:
        self._path = path
        self._site = site
        self._bytes_max = bytes_max
        self._lock = threading.Lock()
        self._ring: deque[Event] = deque(_stored(path), maxlen=RING_EVENTS)
        self._number = self._ring[-1].number if self._ring else 0
        self._file = path.open("ab")
        self._waiters: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()

    def emit(
        self, level: str, name: str, message: str, facts: Mapping[str, Any] | None = None, *, group: str | None = None
    ) -> Event:
        """Record an event; `name` is stable and dotted (`group.takeover`), `facts` are JSON-ready."""
        with self._lock:
            self._number += 1
            event = Event(
                number=self._number,
                time_ns=time.time_ns(),
                level=level,
                name=name,
                message=message,
                group=group,
                site=self._site,
                facts=dict(facts or {}),
            )
            self._ring.append(event)
            self._store(event)
            waiters = list(self._waiters)
        _log.log(_LEVELS.get(level, logging.INFO), "%s: %s", name, message)
        for loop, flag in waiters:
            with suppress(RuntimeError):  # that loop has ended
                loop.call_soon_threadsafe(flag.set)
        return event

    def after(self, number: int) -> list[Event]:
        """Events with a higher number, oldest first; those that left the ring are gone."""
        with self._lock:
            return [event for event in self._ring if event.number > number]

    async def wait_after(self, number: int, seconds: float) -> list[Event]:
        """As `after`, but when there is none wait for one at most `seconds`."""
        flag = asyncio.Event()
        waiter = (asyncio.get_running_loop(), flag)
        with self._lock:
            self._waiters.add(waiter)
        try:
            if not (found := self.after(number)) and seconds > 0:
                with suppress(TimeoutError):
                    await asyncio.wait_for(flag.wait(), seconds)
                found = self.after(number)
            return found
        finally:
            with self._lock:
                self._waiters.discard(waiter)

    def close(self) -> None:
        with self._lock:
            self._file.close()

    def _store(self, event: Event) -> None:
        if self._file.closed:
            return
        try:
            self._file.write(event.model_dump_json().encode() + b"\n")
            self._file.flush()
            if self._file.tell() > self._bytes_max:
                self._file.close()
                self._path.rename(_older(self._path))
                self._file = self._path.open("ab")
        except OSError as error:  # a full disk must not stop replication
            _log.error("cannot store event: %s", error)


def _older(path: Path) -> Path:
    return path.with_name(path.name + ".1")


def _stored(path: Path) -> Iterator[Event]:
    """Events of the files left by an earlier run; a line cut by a crash is passed over."""
    for each in (_older(path), path):
        with suppress(FileNotFoundError):
            for line in each.read_bytes().splitlines():
                with suppress(ValueError):  # pydantic's errors are ValueErrors
                    yield Event.model_validate(json.loads(line))
