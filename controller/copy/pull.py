"""The copy program: journals are read from the primary into the secondary's journal volume.

Owns read_scheduled and already_read, and the order of checks: metadata is
verified as a whole before any of it is used, data before any of it is stored,
and already_read moves only when all of it is durable here. A record that is
not right is never skipped and nothing after it is taken; what came before it
is whole and in order, so that is kept.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from controller.copy.arrival import Arrival
from controller.copy.bucket import Bucket
from controller.copy.fitting import Room, cut, data_bytes, end_of
from controller.copy.recognition import Recognition
from controller.copy.remote import RemoteJournal
from controller.copy.window import BLOCKS_MAX, RECORDS_MAX, Window
from controller.errors import CapacityError, IntegrityError, PeerError, StorageError
from controller.journal.layout import (
    BLOCK_BYTES,
    DATA_BYTES_MAX,
    RECORD_BYTES,
    RECORD_DTYPE,
    Records,
    group_tag,
)
from controller.journal.pointers import Pointer, PointerPage, Position
from controller.journal.volume import JournalVolume
from controller.restore.space import JournalSpace
from controller.restore.verify import Damage, Expectation, check_bytes, check_records

REREADS_MAX: Final = 2  # a window that fails may have been spoiled on the wire


class Outcome(StrEnum):
    """What a step came to."""

    NOTHING = "nothing"  # everything durable at the primary, or up to the limit, is here
    MOVED = "moved"  # and that was all
    MORE = "more"  # moved, and more is waiting
    FULL = "full"  # no room here until restore has freed some
    REREAD = "reread"  # the window failed verification and is read once more


@dataclass(frozen=True, slots=True)
class Pulled:
    outcome: Outcome
    durable: Position  # of the primary, when the step began


class JournalPull:
    """Pulls one group's journals; for one thread at a time. `volume_blocks`: lengths by volume index."""

    def __init__(
        self,
        journal: JournalVolume,
        pointers: PointerPage,
        space: JournalSpace,
        volume_blocks: Mapping[int, int],
        bucket: Bucket | None = None,
    ) -> None:
        self._journal = journal
        self._pointers = pointers
        self._space = space
        self._volume_blocks = volume_blocks
        self._remote: RemoteJournal | None = None
        self._recognition = Recognition(journal)
        self._metadata = bytearray(RECORDS_MAX * RECORD_BYTES)
        self._arrival = Arrival(max(BLOCKS_MAX * BLOCK_BYTES, DATA_BYTES_MAX))
        self._bucket = bucket or Bucket()
        self._window = Window(self._bucket)
        self._suspected = 0
        self.rereads = 0
        self.bytes_read = 0
        self.reset()

    def reset(self) -> None:
        """Begin at the durable point, as after a crash."""
        self.read = self._pointers.read(Pointer.ALREADY_READ)
        self._suspected = 0
        self._recognition.forget()

    def connect(self, remote: RemoteJournal) -> None:
        """Read from this primary from now on."""
        self.close()
        self._remote = remote
        self._recognition.forget()

    @property
    def compressed(self) -> bool:
        """Whether the journal is read compressed now."""
        return self._remote is not None and self._remote.compressed

    def close(self) -> None:
        """Drop the connections."""
        if self._remote is not None:
            self._remote.close()

    def step(self, limit: int | None = None) -> Pulled:
        """Pull one window of what is durable at the primary, up to sequence `limit`.

        PeerError: nothing was published, try again. IntegrityError and
        CapacityError name the record; StorageError: this journal's disk refused.
        """
        remote = self._remote
        assert remote is not None
        remote.reconsider()
        self._recognition.check(remote, self.read.sequence)
        durable = remote.durable()
        if durable.sequence < self.read.sequence:
            self._recognition.forget()  # a primary that starts again
        wanted = (durable.sequence if limit is None else min(limit, durable.sequence)) - self.read.sequence
        if wanted <= 0:
            self._arrival.rest()
            return Pulled(Outcome.NOTHING, durable)
        room = self._room(wanted, durable)
        count = min(wanted, room.records)
        if count <= 0:
            return Pulled(Outcome.FULL, durable)
        began, asked = time.monotonic(), self._ask(count, durable, room)
        try:
            records, data, damage, too_long = self._fetch(remote, count, durable, room)
        except PeerError:
            self._window.broke()
            raise
        self._window.arrived(time.monotonic() - began, right=not damage)
        if len(records):
            before = self.bytes_read
            self._publish(records, data)
            self._bucket.moves(self.bytes_read - before - asked)
            if damage:
                self._read_again(remote)
            more = self.read.sequence < durable.sequence
            return Pulled(Outcome.MORE if more else Outcome.MOVED, durable)
        if too_long:
            return Pulled(self._full(too_long), durable)
        return Pulled(self._suspect(remote, damage), durable)

    def _ask(self, count: int, durable: Position, room: Room) -> int:
        """Tell the limit how many bytes a window may come to; what was published corrects it, a failure does not."""
        due = durable.data_position - self.read.data_position
        asked = count * RECORD_BYTES + max(0, min(due, room.blocks, self._window.blocks)) * BLOCK_BYTES
        self._bucket.moves(asked)
        return asked

    def _room(self, wanted: int, durable: Position) -> Room:
        slots, blocks = self._space.room(self.read)
        due = durable.data_position - self.read.data_position
        if slots < min(wanted, self._window.records) or blocks < min(due, self._window.blocks):
            self._space.reclaim()
            slots, blocks = self._space.room(self.read)
        return Room(min(slots, self._window.records), blocks)

    def _fetch(
        self, remote: RemoteJournal, count: int, durable: Position, room: Room
    ) -> tuple[Records, memoryview, Damage, int]:
        """Metadata, then its data; both at once when the pointers say where it ends.

        Returns the verified records, their data, what is wrong with the next,
        and the blocks that one needs when it is right but does not fit.
        """
        first, start = self.read.sequence + 1, self.read.data_position
        view = memoryview(self._metadata)[: count * RECORD_BYTES]
        metadata = remote.record_ranges(first, count, view)
        due = durable.data_position - start
        if first + count - 1 == durable.sequence and 0 <= due <= min(room.blocks, self._window.blocks):
            self._pointers.publish(Pointer.READ_SCHEDULED, durable)
            data = self._arrival.view(due * BLOCK_BYTES)
            remote.read(metadata, remote.data_ranges(start, [data]))
        else:
            remote.read(metadata)
            data = self._arrival.view(0)
        records = np.frombuffer(view, RECORD_DTYPE)
        good, damage = check_records(records, self.read, self._expected(remote))
        records, too_long = cut(records[:good], start, room.blocks, self._window.blocks)
        if not len(records):
            return records, data, damage, too_long
        length = data_bytes(records)
        if length > len(data):
            self._pointers.publish(Pointer.READ_SCHEDULED, end_of(records[-1]))
            data = self._arrival.view(length)
            remote.read(remote.data_ranges(start, [data]))
        right, data_damage = check_bytes(records, [data])
        return records[:right], data, data_damage or damage, 0

    def _expected(self, remote: RemoteJournal) -> Expectation:
        generation = remote.source.generation
        tag = group_tag(self._journal.header.group_uuid)
        return Expectation(tag, generation, generation, self._volume_blocks)

    def _publish(self, records: Records, data: memoryview) -> None:
        """Records after their data, the sync after both, the pointer after the sync."""
        length = data_bytes(records)
        slots, blocks = self._space.room(self.read)
        try:
            self._journal.write_data(self.read.data_position, data[:length], blocks - length // BLOCK_BYTES)
            self._journal.write_records(self.read.sequence + 1, records, slots - len(records) - 1)
            self._journal.sync()
        except OSError as error:
            raise StorageError(
                f"journal volume {self._journal.path}: {(error.strerror or str(error)).lower()}",
                hint="Look at the disk, then order the copy again; nothing is lost at the primary.",
                path=self._journal.path,
            ) from error
        end = end_of(records[-1])
        self.bytes_read += len(records) * RECORD_BYTES + length
        self._pointers.publish(Pointer.ALREADY_READ, end)
        self.read = end
        self._suspected = 0

    def _full(self, blocks: int) -> Outcome:
        if blocks > self._journal.data_blocks:
            raise CapacityError(
                f"record {self.read.sequence + 1} has {blocks} blocks of data, "
                f"the journal volume here holds {self._journal.data_blocks}",
                hint="Make the secondary's journal volume larger.",
                sequence=self.read.sequence + 1,
            )
        return Outcome.FULL

    def _suspect(self, remote: RemoteJournal, damage: Damage) -> Outcome:
        """The next record is not right: read it a few times more; then it is damage and no accident of the wire."""
        self._suspected += 1
        if self._suspected <= REREADS_MAX:
            self._read_again(remote)
            return Outcome.REREAD
        self._suspected = 0
        raise IntegrityError(
            f"journal of {remote.source.site}: {damage}",
            hint="Nothing at or after it was copied; it is read again. Look at the link and the primary's disk.",
            sequence=self.read.sequence + 1,
            attempts=REREADS_MAX + 1,
        )

    def _read_again(self, remote: RemoteJournal) -> None:
        """What comes next is read over a new connection."""
        self.rereads += 1
        remote.close()
