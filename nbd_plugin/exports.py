"""Exports: from the name a client asks for to a volume, and who is connected to what.

Owns the sessions (one for each connection) and their counts. Knows nothing
of nbdkit's interface and nothing of how requests are served.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from controller.errors import ConflictError, NotFoundError
from controller.volume.host_path import ServedVolume


@dataclass(slots=True, eq=False)
class Session:
    """One connection to one volume. Only its own thread counts, so no count is lost."""

    volume: ServedVolume
    readonly: bool
    thread_token: int = 0
    reads: int = 0
    writes: int = 0
    flushes: int = 0


class Exports:
    """The exports of one server: every volume under its own name."""

    def __init__(self, volumes: Iterable[ServedVolume]) -> None:
        self._volumes = {volume.name: volume for volume in volumes}
        self._sessions: set[Session] = set()
        self._ended = {"reads": 0, "writes": 0, "flushes": 0}
        self._lock = threading.Lock()

    @property
    def names(self) -> list[str]:
        return list(self._volumes)

    @property
    def default(self) -> str:
        """What the empty export name stands for: the only volume, if there is one only; else nothing."""
        return self.names[0] if len(self._volumes) == 1 else ""

    def add(self, volumes: Iterable[ServedVolume]) -> None:
        """Export more volumes to those who connect from now on."""
        with self._lock:
            self._volumes = {**self._volumes, **{volume.name: volume for volume in volumes}}

    def remove(self, names: Iterable[str]) -> None:
        """Export some no more; ConflictError while somebody is connected to one."""
        gone = set(names)
        with self._lock:
            for session in self._sessions:
                if session.volume.name in gone:
                    raise ConflictError(
                        f"a client is connected to volume {session.volume.name}", hint="Detach it first."
                    )
            self._volumes = {name: volume for name, volume in self._volumes.items() if name not in gone}

    def open(self, name: str, readonly: bool) -> Session:
        """A session on the volume of that name; NotFoundError for any other name."""
        with self._lock:
            volume = self._volumes.get(name or self.default)
            if volume is None:
                raise NotFoundError(f"no export {name[:256]!r}", hint=f"There is: {', '.join(self.names)}.")
            session = Session(volume, readonly)
            self._sessions.add(session)
        return session

    def close(self, session: Session) -> None:
        """Forget a connection, keep what it counted."""
        with self._lock:
            self._sessions.discard(session)
            for name in self._ended:
                self._ended[name] += getattr(session, name)

    def status(self) -> dict[str, Any]:
        """Volumes with their connections, and requests served since the start; JSON-ready."""
        with self._lock:
            sessions = list(self._sessions)
            counts = {name: ended + sum(getattr(s, name) for s in sessions) for name, ended in self._ended.items()}
        volumes = [
            {
                "index": volume.index,
                "name": volume.name,
                "size_bytes": volume.size_bytes,
                "writable": volume.writable,
                "connections": sum(session.volume is volume for session in sessions),
            }
            for volume in self._volumes.values()
        ]
        return {"volumes": volumes, **counts}
