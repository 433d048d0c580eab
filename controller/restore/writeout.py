"""Writing a backlog out while more of it is written, so that the sync behind it finds little left to do.

Owns the second thread and how much it is given at a time. What it does is an
advice to the kernel: nothing is durable by it, and a disk's error is left for
the sync to meet.
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Final

from controller.volume.backing import Backing

if TYPE_CHECKING:
    from concurrent.futures import Future

STRETCH_BYTES: Final = 8 << 20  # submitted at a time; who writes waits for one at the end


class Writeout:
    """A context in which one thread writes a volume in address order, and another submits what it has passed.

    `passed` is cheap: while the other thread is busy nothing is noted but how
    far it got. What was not submitted in the end is left to the sync.
    """

    def __init__(self, target: Backing, begin: int) -> None:
        """From byte `begin` of the volume on."""
        from concurrent.futures import ThreadPoolExecutor  # here: most starts of a volume server need none

        self._target = target
        self._begin = begin
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="writeout")
        self._task: Future[None] | None = None
        self._alone = False

    def __enter__(self) -> Writeout:
        return self

    def passed(self, end: int) -> None:
        """Everything before byte `end` that is to be written is written."""
        if self._alone or (self._task is not None and not self._task.done()):
            return
        self._ended()
        count = min(end - self._begin, STRETCH_BYTES)
        try:
            self._task = self._thread.submit(self._target.begin_sync, self._begin, count)
        except RuntimeError:  # the machine has no thread left: the sync does all of it then
            self._alone = True
        self._begin += count

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown(wait=True)
        if error is None:
            self._ended()

    def _ended(self) -> None:
        """Let a mistake in the other thread be seen in this one."""
        if self._task is not None:
            self._task.result()
