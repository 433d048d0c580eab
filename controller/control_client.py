"""Talks to a volume server over its control socket: one JSON line each way.

Owns the deadline and the mapping of errors back to their classes; the
commands are the volume server's. Must not start or stop anything.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from controller.errors import BY_NAME, PairvolError, PeerError

ANSWER_BYTES_MAX: Final = 1 << 20
STATUS_SECONDS: Final = 2.0
COMMAND_SECONDS: Final = 60.0  # a checkpoint writes everything that is still in the overlay
CACHE_SECONDS: Final = 0.5


def command(path: Path, name: str, timeout_seconds: float = COMMAND_SECONDS, **arguments: Any) -> dict[str, Any]:
    """Give one command and return its answer; PeerError when there is none in time."""
    deadline = time.monotonic() + timeout_seconds
    request = json.dumps({"command": name, **arguments}).encode() + b"\n"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.settimeout(timeout_seconds)
            link.connect(str(path))
            link.sendall(request)
            line = _read_line(link, deadline)
        answer = json.loads(line)
    except (OSError, ValueError) as error:
        words = "no answer in time" if isinstance(error, TimeoutError) else str(error).lower()
        raise PeerError(
            f"volume server at {path} did not take {name}: {words}",
            hint="It is started again by itself; see the events.",
            command=name,
        ) from error
    if not answer.get("ok"):
        raise _error(answer, name)
    return dict(answer)


def _read_line(link: socket.socket, deadline: float) -> bytes:
    received = bytearray()
    while not received.endswith(b"\n"):
        link.settimeout(max(0.001, deadline - time.monotonic()))
        piece = link.recv(65536)
        if not piece or len(received) > ANSWER_BYTES_MAX:
            raise ConnectionError("it hung up before it answered")
        received += piece
    return bytes(received)


def _error(answer: dict[str, Any], name: str) -> PairvolError:
    kind = BY_NAME.get(str(answer.get("error")), PeerError)
    return kind(str(answer.get("message") or f"{name} failed"), hint=str(answer.get("hint") or ""), command=name)


class StatusCache:
    """Answers of `status`, at most half a second old; shared by whoever asks."""

    def __init__(self, socket_of: Callable[[str], Path], seconds: float = CACHE_SECONDS) -> None:
        self._socket_of = socket_of
        self._seconds = seconds
        self._lock = threading.Lock()
        self._answers: dict[str, tuple[float, dict[str, Any]]] = {}

    def get(self, server: str, *, fresh: bool = False) -> dict[str, Any]:
        """Status of a volume server; PeerError when it does not answer."""
        with self._lock:
            known = self._answers.get(server)
        if not fresh and known is not None and time.monotonic() - known[0] < self._seconds:
            return known[1]
        answer = command(self._socket_of(server), "status", STATUS_SECONDS)
        with self._lock:
            self._answers[server] = (time.monotonic(), answer)
        return answer

    def forget(self, server: str) -> None:
        """Make the next question a fresh one; after every command."""
        with self._lock:
            self._answers.pop(server, None)
