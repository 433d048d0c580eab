"""Writing a backlog out while more of it is written, so that the sync behind it finds little left to do.

Owns the second thread and how much it is given at a time. What it does is an
advice to the kernel: nothing is durable by it, and a disk's error is left for
the sync to meet.
"""

from __future__ import annotations

import time
from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING, Final

from controller.volume.backing import Backing

if TYPE_CHECKING:
    from concurrent.futures import Future

STRETCH_BYTES_MAX: Final = 8 << 20  # submitted at a time; who writes waits for one at the end
STRETCH_BYTES_MIN: Final = 256 << 10
QUICK_SECONDS: Final = 0.02  # a disk that takes longer for one gets less at a time


class Writeout:
    """A context in which one thread writes a volume in address order, and another submits what it has passed.

    `passed` is cheap: while the other thread is busy it only notes how far
    that may go next. What was not submitted in the end is left to the sync.
    """

    def __init__(self, target: Backing, begin: int) -> None:
        """From byte `begin` of the volume on."""
        from concurrent.futures import ThreadPoolExecutor  # here: most starts of a volume server need none

        self._target = target
        self._begin = begin
        self._passed = deque[tuple[int, int]]()
        self._stretch = STRETCH_BYTES_MIN
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="writeout")
        self._task: Future[None] | None = None
        self._alone = False

    def __enter__(self) -> Writeout:
        return self

    def passed(self, end: int, count: int) -> None:
        """Everything before byte `end` that is to be written is written: `count` bytes since the last call."""
        self._passed.append((end, count))
        if self._alone or (self._task is not None and not self._task.done()):
            return
        self._ended()
        begin, taken = self._begin, 0
        while self._passed and taken < self._stretch:
            self._begin, written = self._passed.popleft()
            taken += written
        try:
            self._task = self._thread.submit(self._submit, begin, self._begin - begin)
        except RuntimeError:  # the machine has no thread left: the sync does all of it then
            self._alone = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown(wait=True)
        if error is None:
            self._ended()

    def _submit(self, begin: int, count: int) -> None:
        started = time.monotonic()
        self._target.begin_sync(begin, count)
        quick = time.monotonic() - started < QUICK_SECONDS
        self._stretch = min(2 * self._stretch, STRETCH_BYTES_MAX) if quick else STRETCH_BYTES_MIN

    def _ended(self) -> None:
        """Let a mistake in the other thread be seen in this one."""
        if self._task is not None:
            self._task.result()
