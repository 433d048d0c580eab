"""The in-band run of a group: the thread in the volume server that carries it out, over suspensions and restarts.

Owns the run's record and its pace. How a chunk gets into the journal is
chunk.py's; who asked for a run, and what follows it, is not known here.

To have ranges of a primary's volumes brought over by the journal: order
`RunOrder(run=NAME, kind=RunKind.BASE, ranges=[Range(volume, offset, length)])`
(WritePath.order_run; `run` on the control socket; POST /groups/NAME/run at the
controller). When the marker "run ended" of that NAME has been restored at a
secondary, all of the ranges are right there, and stay so.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from controller.api.runs import RunOrder, RunPhase, RunState
from controller.api.shape import Failure
from controller.errors import ConflictError, PairvolError, StorageError
from controller.inband import record, walk
from controller.inband.chunk import Chunk
from controller.inband.record import RunRecord
from controller.journal.markers import MarkerKind, pack_marker
from controller.journal.pointers import Position
from controller.volume.host_path import HostPath, ServedVolume
from controller.volume.journaled import JournaledPath
from controller.volume.refusals import START_HINT

SHARE_MAX: Final = 0.5  # of the journal: a run appends while no more is in use
ROOM_SECONDS: Final = 0.25
PATIENCE_SECONDS: Final = 0.5  # after so long without room in that share, one chunk goes in where there is any
PAUSED_SECONDS: Final = 0.1
YIELD_SECONDS_MAX: Final = 0.05  # after a chunk that hosts wrote beside
SAVE_SECONDS: Final = 1.0
SAVE_BYTES: Final = 256 << 20
NOTE_SECONDS: Final = 0.5  # between two markers "run at"


class Runs:
    """One run at a time. Any thread may order and ask.

    `path` is the path that takes host requests now, `generation` the one that
    is journaled under; None while none is.
    """

    def __init__(
        self,
        file: Path,
        volumes: Callable[[], Mapping[int, ServedVolume]],
        path: Callable[[], HostPath],
        generation: Callable[[], int | None],
    ) -> None:
        self._file = file
        self._volumes = volumes
        self._path = path
        self._generation = generation
        self._changed = threading.Condition()
        self._record = record.load(file)  # how it stands, in memory
        self._stored = self._record
        self._end = Position()  # of the newest record of the run
        self._saved_at = self._noted_at = self._moved_at = time.monotonic()
        self._waits: str | None = None
        self._stopping = False
        self._thread = threading.Thread(target=self._main, name="run", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread after its present chunk; the run goes on with the next start."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()

    def state(self) -> RunState | None:
        """The run under way, or the last one."""
        with self._changed:
            if self._record is None:
                return None
            found, waits = self._judged(self._record).state, self._waits
        return found.model_copy(update={"waits": waits if found.phase is RunPhase.RUNNING else None})

    def cancel(self, run: str) -> RunState:
        """End that run for good, also one whose last journals are not looked at yet; the same again changes nothing."""
        with self._changed:
            present = self._record
            if present is None or present.state.run != run:
                raise ConflictError(f"run {run} is not the newest one", hint="Look again; then give the command again.")
            if present.state.phase is not RunPhase.INTERRUPTED:
                ended = present.changed(phase=RunPhase.INTERRUPTED, ended_ns=time.time_ns())
                record.store(self._file, ended)
                self._record = self._stored = ended
                self._changed.notify_all()
            return self._record.state if self._record is not None else present.state

    def order(self, order: RunOrder) -> RunState:
        """Begin a run, or let one that failed go on; ConflictError while another one is under way."""
        sizes = {index: volume.size_bytes for index, volume in self._volumes().items()}
        with self._changed:
            generation, present = self._generation(), self._record
            if generation is None:
                raise ConflictError("cannot run: no journal is written", hint=START_HINT)
            present = None if present is None else present.of_generation(generation)
            if present is not None and present.state.run == order.run:
                if present.state.phase is RunPhase.FAILED:
                    self._begin(present.changed(phase=RunPhase.RUNNING, failure=None))
            elif present is not None and present.running and not order.replace:
                raise ConflictError(
                    f"run {present.state.run} ({present.state.kind}) is under way",
                    hint="One run at a time: wait for its end.",
                    run=present.state.run,
                )
            else:
                ranges = walk.whole(sizes) if order.ranges is None else walk.checked(order.ranges, sizes)
                self._begin(RunRecord.begin(order, ranges, generation))
        found = self.state()
        assert found is not None
        return found

    # -- within ---------------------------------------------------------------

    def _begin(self, begun: RunRecord) -> None:
        record.store(self._file, begun)
        self._record = self._stored = begun
        self._end = Position()
        self._saved_at = self._noted_at = self._moved_at = time.monotonic()
        self._changed.notify_all()

    def _judged(self, found: RunRecord) -> RunRecord:
        generation = self._generation()
        return found if generation is None else found.of_generation(generation)

    def _main(self) -> None:
        pause: float | None = 0.0
        while True:
            with self._changed:
                if not self._stopping and pause != 0:
                    self._changed.wait(pause)
                if self._stopping:
                    break
                present = self._record
            pause = None if present is None or not self._judged(present).running else self._guarded(present)

    def _guarded(self, present: RunRecord) -> float:
        path = self._path()
        try:
            if not isinstance(path, JournaledPath) or path.failure is not None or path.broken is not None:
                return self._wait("no journal is written now")
            return self._step(path, present)
        except PairvolError as error:
            if path.failure is not None or path.broken is not None:
                return self._wait("no journal is written now")  # the path's failure, not the run's
            failure = error
        except OSError as error:
            failure = StorageError(
                f"a volume cannot be read: {(error.strerror or str(error)).lower()}",
                hint="Look at its disk, then give the command again: it goes on.",
            )
        except Exception as error:  # noqa: BLE001 - the thread's main: a dead thread must not look like a slow one
            failure = PairvolError(f"the run met a mistake in the program: {error!r}")
        told = Failure(error=type(failure).__name__, message=failure.message, hint=failure.hint, time_ns=time.time_ns())
        with self._changed:
            if self._record is present and self._stored is not None:  # beyond what is stored nothing is certain
                self._record = self._stored.changed(phase=RunPhase.FAILED, failure=told)
        return PAUSED_SECONDS

    def _wait(self, words: str, seconds: float = PAUSED_SECONDS) -> float:
        """Pause; journals that are not known durable may be gone when it goes on, so begin where it is stored."""
        with self._changed:
            self._waits, self._record = words, self._stored
        return seconds

    def _step(self, path: JournaledPath, present: RunRecord) -> float:
        state = present.state
        left = walk.Walk(present.ranges).at(state.bytes_done)
        if state.begin_sequence is None:
            facts = {"task": state.task, "kind": str(state.kind), "bytes_total": state.bytes_total}
            return self._mark(path, present, MarkerKind.RUN_BEGUN, "begin_sequence", **facts)
        if left is None:
            return self._mark(path, present, MarkerKind.RUN_ENDED, "end_sequence", bytes_done=state.bytes_done)
        if not self._room(path):
            return 0.0
        gates = path.gates
        volume = self._volumes().get(left.volume)
        if volume is None:
            raise ConflictError(f"volume {left.volume} left the group", hint="Give the command again.")
        before, began = path.appender.sequence, time.monotonic()
        taken = Chunk(path, state.run, state.kind, gates).take(volume, left, state.bytes_done)
        if taken is None:
            return self._no_room(path)
        elapsed = time.monotonic() - began
        self._advance(path, present, state.bytes_done + taken.length, taken.end)
        busy = path.appender.sequence - before > taken.records
        return min(elapsed, YIELD_SECONDS_MAX) if busy else 0.0

    def _mark(self, path: JournaledPath, present: RunRecord, what: MarkerKind, key: str, **facts: object) -> float:
        """The first or last marker, durably, then the record that says so."""
        end = path.put_note(pack_marker(what, run=present.state.run, **facts))
        if end is None:
            return self._no_room(path)
        path.commit.wait(end.sequence)
        changed = present.changed(**{key: end.sequence})
        if what is MarkerKind.RUN_ENDED:
            changed = changed.changed(phase=RunPhase.DONE, ended_ns=time.time_ns())
        self._save(present, changed)
        return 0.0

    def _room(self, path: JournaledPath) -> bool:
        """Whether a chunk may go in now: hosts come first, and this comes at last."""
        if path.wait_freed(SHARE_MAX, ROOM_SECONDS):
            return True
        with self._changed:
            self._waits = "the journal is more than half full"
            return time.monotonic() - self._moved_at >= PATIENCE_SECONDS

    def _no_room(self, path: JournaledPath) -> float:
        if path is not self._path():
            return self._wait("journaling was interrupted")
        with self._changed:
            self._waits = "the journal is full"
        return ROOM_SECONDS

    def _advance(self, path: JournaledPath, present: RunRecord, bytes_done: int, end: Position) -> None:
        now = time.monotonic()
        self._moved_at, self._end = now, end
        changed = present.changed(bytes_done=bytes_done)
        with self._changed:
            if self._record is not present:
                return
            self._record, self._waits = changed, None
            stored = self._stored.state.bytes_done if self._stored is not None else 0
        if now - self._noted_at >= NOTE_SECONDS:
            self._noted_at = now
            path.put_note(pack_marker(MarkerKind.RUN_AT, run=present.state.run, bytes_done=bytes_done))
        if now - self._saved_at >= SAVE_SECONDS or bytes_done - stored >= SAVE_BYTES:
            path.commit.wait(end.sequence)
            self._save(changed, changed)

    def _save(self, present: RunRecord, changed: RunRecord) -> None:
        with self._changed:
            if self._record is not present:  # another run has taken its place
                return
            record.store(self._file, changed)
            self._record = self._stored = changed
            self._saved_at = time.monotonic()
