"""Commands in flight on a data link: started, polled for, and never waited for beyond their deadline.

Knows one libnbd handle at a time and nothing of how it is connected.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from controller.copy.reads import Reads

PIECE_BYTES: Final = 1 << 20  # measured: smaller or much larger pieces are slower
PIECES_IN_FLIGHT: Final = 16  # at most: a window sized for a slow link has fewer
RATE_BYTES_MIN: Final = 8 << 10  # a link slower than this a second cannot carry a pair
SLICE_SECONDS: Final = 0.1  # how soon a stop is noticed on a link that is silent

Range = tuple[int, int, memoryview]  # (offset, length, view of that length)


class Deadline:
    """How long one call may take: silence, and the whole of it, are both bounded.

    `moved`: bytes that came so far by another way than the handle's own socket.
    """

    def __init__(
        self,
        silence_seconds: float,
        total_bytes: int,
        stop: threading.Event,
        whole_share: float = 1.0,
        moved: Callable[[], int] | None = None,
    ) -> None:
        self._silence_seconds = silence_seconds
        self._stop = stop
        self._moved = moved
        self._moved_before = moved() if moved is not None else 0
        self._heard = time.monotonic()
        self._end = self._heard + whole_share * silence_seconds + total_bytes / RATE_BYTES_MIN

    def poll(self, handle: Any) -> None:
        """Wait until the handle moved; TimeoutError when it is silent too long or a stop is asked for."""
        while True:
            if self._stop.is_set():
                raise TimeoutError("stopped")
            now = time.monotonic()
            left = min(self._heard + self._silence_seconds, self._end) - now
            if left <= 0:
                raise TimeoutError(f"no answer for {self._silence_seconds:g} s")
            if handle.poll(math.ceil(min(left, SLICE_SECONDS) * 1000)):
                self._heard = time.monotonic()
                return
            if self._moved is not None and (moved := self._moved()) != self._moved_before:
                self._heard, self._moved_before = time.monotonic(), moved


def pieces_of(ranges: Iterable[Range]) -> Iterator[tuple[int, memoryview]]:
    """Ranges cut into pieces: (offset, where it goes)."""
    for offset, length, view in ranges:
        for start in range(0, length, PIECE_BYTES):
            yield offset + start, view[start : min(start + PIECE_BYTES, length)]


def read_pieces(handle: Any, reads: Reads, pieces: deque[tuple[int, memoryview]], budget: Deadline) -> None:
    """Read them all, many at a time; what is in flight when this raises stays so until the handle is closed."""
    while pieces or reads:
        while pieces and len(reads) < PIECES_IN_FLIGHT:
            offset, view = pieces.popleft()
            reads.start(view, offset)
        while reads and (cookie := handle.aio_peek_command_completed()):
            handle.aio_command_completed(cookie)  # raises when that read failed
            reads.ended(cookie)
        if len(reads) == PIECES_IN_FLIGHT or (reads and not pieces):
            budget.poll(handle)


def finish(handle: Any, cookie: int, budget: Deadline) -> None:
    """Wait for one command; raises when it failed."""
    while not handle.aio_command_completed(cookie):
        budget.poll(handle)
