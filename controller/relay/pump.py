"""Moves bytes between two sockets, both ways, through a change in each direction, until one side ends.

Owns polling and what is held meanwhile: one piece in each direction, so a
side that does not take stops the other from sending. One thread, sockets that
do not block, so that a TLS socket may be one of them.
"""

from __future__ import annotations

import select
import socket
import ssl
from collections.abc import Callable
from typing import Final

from controller.relay.frames import Plain

PIECE_BYTES: Final = 64 << 10
_NOT_NOW: Final = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_OVER: Final = select.POLLHUP | select.POLLERR | select.POLLNVAL

Counted = Callable[[int, int], None]


class Flow:
    """One direction. `counted` is told the bytes read and written by each move."""

    def __init__(
        self,
        source: socket.socket,
        sink: socket.socket,
        change: Plain,
        counted: Counted = lambda read, written: None,
    ) -> None:
        self.source, self.sink = source, sink
        self.ended = False
        self._change = change
        self._counted = counted
        self._pending = memoryview(b"")

    @property
    def full(self) -> bool:
        """Whether something waits for the sink."""
        return bool(self._pending)

    def move(self) -> bool:
        """Read and write what can be now; whether that was anything."""
        read = 0
        if not self._pending and not self.ended:
            data = self._read()
            read = len(data)
            self._change.put(data)
            self._pending = memoryview(self._change.take())
        written = self._write() if self._pending else 0
        self._pending = self._pending[written:] or memoryview(self._change.take())
        if read or written:
            self._counted(read, written)
        return bool(read or written)

    def _read(self) -> bytes:
        """All that is there, up to what one change takes."""
        pieces: list[bytes] = []
        left = self._change.read_bytes
        while left:
            try:
                piece = self.source.recv(min(left, PIECE_BYTES))
            except _NOT_NOW:
                break
            if not piece:
                self.ended = True
                break
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)

    def _write(self) -> int:
        try:
            return self.sink.send(self._pending)
        except _NOT_NOW:
            return 0


def pump(one: Flow, other: Flow) -> None:
    """Until either side has ended and what it sent is delivered. OSError: a connection broke."""
    over = False
    while True:
        moved = [one.move(), other.move()]
        if any(flow.ended and not flow.full for flow in (one, other)):
            return
        if any(moved):
            over = False
        elif over:
            return  # it hung up, and takes nothing more
        else:
            over = _wait(one, other)


def _wait(*flows: Flow) -> bool:
    """Until a socket is ready; whether one is over."""
    events: dict[int, int] = {}
    for flow in flows:
        for end, wanted, event in (
            (flow.source, not flow.full and not flow.ended, select.POLLIN),
            (flow.sink, flow.full, select.POLLOUT),
        ):
            events[end.fileno()] = events.get(end.fileno(), 0) | (event if wanted else 0)
    poll = select.poll()
    for descriptor, wanted_events in events.items():
        poll.register(descriptor, wanted_events)
    return any(found & _OVER for _, found in poll.poll())
