"""Group commit: one sync of the journal serves everybody who waits for durability.

Owns the position up to which the journal is durable and the one failure after
which nothing is ever called durable again. Knows nothing of records, volumes
or connections.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from controller.errors import PairvolError, StorageError
from controller.journal.pointers import Position

INTERVAL_SECONDS: Final = 0.005  # from a write to its background sync, about
BUSY_RECORDS: Final = 64  # more in one sync: hosts write so fast that fewer syncs are worth more than younger ones
INTERVAL_SECONDS_BUSY: Final = 0.010
INTERVAL_SECONDS_MAX: Final = 0.100
SYNC_TIMES: Final = 3  # on a slow disk: pause this many times what the last sync took


class GroupCommit:
    """Makes appended journals durable.

    `newest` answers the position of the newest complete record; `sync` makes
    everything written so far durable; `publish` tells the world, one call at
    a time, after the sync; `fail` is told of the first failure. Any thread
    may wait; none of the four is called with this object's lock held.
    """

    def __init__(
        self,
        durable: Position,
        newest: Callable[[], Position],
        sync: Callable[[], None],
        publish: Callable[[Position], None],
        fail: Callable[[PairvolError], None],
    ) -> None:
        self.durable = durable
        self.failure: PairvolError | None = None
        self._newest = newest
        self._sync = sync
        self._publish = publish
        self._fail = fail
        self._changed = threading.Condition()
        self._syncing = False

    def wait(self, sequence: int) -> None:
        """Return when `sequence` is durable; raise the failure when a sync has failed, now or ever.

        The first to come leads: it syncs for all who appended before. Who
        comes meanwhile waits for that sync and, if it began too early for
        him, the first of those leads the next.
        """
        with self._changed:
            while True:
                if self.failure is not None:
                    raise self.failure
                if self.durable.sequence >= sequence:
                    return
                if not self._syncing:
                    break
                self._changed.wait()
            self._syncing = True
        self._lead()

    def _lead(self) -> None:
        durable, failure = self.durable, None
        try:
            # Taken before the sync: what is appended during it may or may not be covered.
            newest = self._newest()
            self._sync()
            self._publish(newest)
            durable = newest
        except OSError as error:
            # The kernel may have dropped the pages: a second sync that succeeds would prove nothing.
            failure = StorageError(
                f"sync of the journal failed: {error.strerror}",
                hint="Look at the journal's disk. Nothing is acknowledged as durable until the server starts anew.",
            )
            raise failure from error
        finally:
            if failure is not None:
                self._fail(failure)  # before anybody who waits is told: he may ask what becomes of him
            with self._changed:
                self._syncing = False
                self.durable = durable
                self.failure = failure
                self._changed.notify_all()


class BackgroundSync:
    """A thread that makes journals durable soon, also when the host never flushes.

    It sleeps without a timeout while everything is durable; `wake` is for the
    append step, which calls it when `awake` is false.
    """

    def __init__(self, commit: GroupCommit, lock: threading.Lock, newest_sequence: Callable[[], int]) -> None:
        self.awake = False
        self._commit = commit
        self._lock = lock  # the one that orders the appends
        self._newest_sequence = newest_sequence
        self._work = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="background-sync", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """There is something that is not durable (called with the appends' lock held)."""
        self.awake = True
        self._work.set()

    def stop(self) -> None:
        """End the thread; what it would have synced stays to be synced by others."""
        self._stop.set()
        self._work.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        pause, synced = INTERVAL_SECONDS, self._newest_sequence()
        while not self._stop.is_set():  # looked at after `_work` was cleared: `stop` sets them in the other order
            self._work.wait()
            seen = self._newest_sequence()
            if self._stop.wait(pause):
                return
            began = time.monotonic()
            try:
                self._commit.wait(seen)
            except PairvolError:
                return  # sticky: whoever writes or flushes next is told
            took = time.monotonic() - began
            interval = INTERVAL_SECONDS_BUSY if seen - synced > BUSY_RECORDS else INTERVAL_SECONDS
            pause = min(max(interval, SYNC_TIMES * took), INTERVAL_SECONDS_MAX)
            synced = seen
            with self._lock:
                if self._newest_sequence() == self._commit.durable.sequence:
                    self.awake = False
                    self._work.clear()
