"""Calls that have no deadline of their own, such as the system's look-up of names, waited for in bounded time.

Such a call cannot be ended from outside. It is made in a thread of its own,
and who asked stops waiting; what it comes to later is dropped. How many of
them may be under way is bounded too.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from collections.abc import Callable
from typing import Final, TypeVar

CALLS_MAX: Final = 64
_SLICE_SECONDS: Final = 0.1  # how soon a stop is noticed

Result = TypeVar("Result")
_places: Final = threading.BoundedSemaphore(CALLS_MAX)


def in_time(call: Callable[[], Result], seconds: float, stop: threading.Event | None = None) -> Result:
    """What `call` returns or raises; TimeoutError when it takes longer than `seconds`, or `stop` is set."""
    done = threading.Event()
    results: list[Result] = []
    errors: list[BaseException] = []

    def make() -> None:
        try:
            results.append(call())
        except BaseException as error:  # noqa: BLE001 - it is raised where the call was asked for
            errors.append(error)
        finally:
            places.release()
            done.set()

    places = _places
    if not places.acquire(blocking=False):
        raise TimeoutError(f"{CALLS_MAX} calls before it have no answer")
    threading.Thread(target=make, name="in time", daemon=True).start()
    end = time.monotonic() + seconds
    while not done.wait(max(0.0, min(_SLICE_SECONDS, end - time.monotonic()))):
        if stop is not None and stop.is_set():
            raise TimeoutError("stopped")
        if time.monotonic() >= end:
            raise TimeoutError(f"no answer for {seconds:g} s")
    if errors:
        raise errors[0]
    return results[0]


def is_numeric(host: str) -> bool:
    """Whether a host is an address already, and nobody is asked for it."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def addresses_of(host: str, port: int, seconds: float) -> list[str]:
    """The addresses of a host, in the order in which to try them; OSError, of which TimeoutError is one."""
    if is_numeric(host):
        return [host]
    found = in_time(lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM), seconds)
    return list(dict.fromkeys(str(place[0]) for *_, place in found))
