"""The append step: the next sequence, the data into the ring, the record into its slot.

Owns the sequence number, the data position and the time of the journal's
newest record, and the limits up to which the ring may be filled. This is the
hottest code of the volume server: `CompiledAppender` serves, and `Appender`
says in plain words what it does, is its reference in the tests, and serves
where nothing was compiled. Neither takes a lock or waits: one thread at a
time calls, and the order of the calls is the order of the journal.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Union

from typing_extensions import Buffer

from controller.checksum import crc32c
from controller.journal.layout import BLOCK_BYTES, DATA_BYTES_MAX, Flag, Kind, group_tag, pack_record
from controller.journal.pointers import Position
from controller.journal.volume import JournalVolume

if TYPE_CHECKING:
    from controller.journal._hot import Append as _Append
else:
    try:
        from controller.journal._hot import Append as _Append
    except ImportError:
        _Append = None


class _Newest:
    """What both append steps say of the journal's newest record, and of the space after it."""

    sequence: int
    data_position: int
    time_ns: int
    sequence_limit: int
    data_limit: int
    free_share = 1.0  # of the journal that `fits` lets be filled; `has_room` speaks of all of it
    _journal: JournalVolume
    released_seconds = 0.0  # of the monotonic clock, when space was last given back
    _out = Position()

    @property
    def tail(self) -> Position:
        """The position of the newest record."""
        return Position(self.sequence, self.data_position, self.time_ns)

    def release(self, out: Position) -> None:
        """Let the space up to and with `out` be used again; its pointer must be durable by now."""
        if out > self._out:
            self.released_seconds = time.monotonic()
        self._out = out
        self.sequence_limit = out.sequence + int(self.free_share * self._journal.slot_count)
        self.data_limit = out.data_position + int(self.free_share * self._journal.data_blocks)

    def has_room(self, blocks: int) -> bool:
        """True when one more record with that much data overwrites nothing that is needed."""
        return (
            self.sequence < self._out.sequence + self._journal.slot_count
            and self.data_position + blocks <= self._out.data_position + self._journal.data_blocks
        )

    @property
    def fill_share(self) -> float:
        """How much of the journal is in use, of the area that is fuller."""
        records, blocks = self.sequence - self._out.sequence, self.data_position - self._out.data_position
        return max(records / self._journal.slot_count, blocks / self._journal.data_blocks)


class Appender(_Newest):
    """Appends host writes to an open journal.

    An append that raises has used up nothing: its sequence is given again. It
    survives the death of this process when it returns, a power cut from the
    next sync of the journal on.
    """

    def __init__(self, journal: JournalVolume, tail: Position, clock: Callable[[], int] = time.time_ns) -> None:
        self.sequence = tail.sequence  # of the newest record
        self.data_position = tail.data_position
        self.time_ns = tail.time_ns
        self._journal = journal
        self._clock = clock
        self._generation = journal.header.generation
        self._tag = group_tag(journal.header.group_uuid)
        self.sequence_limit = 0
        self.data_limit = 0

    def fits(self, blocks: int) -> bool:
        """True when one more record with that much data stays within the share that may be filled."""
        return self.sequence < self.sequence_limit and self.data_position + blocks <= self.data_limit

    def write(self, volume: int, lba: int, data: Buffer, blocks: int) -> int:
        """Append a write of `blocks` blocks; the data position that its data is at."""
        position = self.data_position
        self._write_data(data, blocks)
        self._record(volume, lba, blocks, blocks, Flag.NONE, crc32c(data))
        return position

    def clear(self, volume: int, lba: int, blocks: int, flag: Flag) -> None:
        """Append a zero or a trim: a record without data."""
        self._record(volume, lba, blocks, 0, flag, 0)

    def base(self, volume: int, lba: int, data: Buffer, blocks: int) -> int:
        """Append what a range holds; as `write`."""
        position = self.data_position
        self._write_data(data, blocks)
        self._record(volume, lba, blocks, blocks, Flag.NONE, crc32c(data), Kind.BASE)
        return position

    def base_clear(self, volume: int, lba: int, blocks: int, flag: Flag) -> None:
        """Append that a range reads as zeros; as `clear`."""
        self._record(volume, lba, blocks, 0, flag, 0, Kind.BASE)

    def marker(self, data: Buffer, blocks: int) -> None:
        """Append control information of `blocks` blocks."""
        self._write_data(data, blocks)
        self._record(0, 0, 0, blocks, Flag.NONE, crc32c(data), Kind.MARKER)

    def detach(self) -> None:
        """Let go of the journal's map; nothing may be appended any more."""

    def _write_data(self, data: Buffer, blocks: int) -> None:
        self._journal.write_data(self.data_position, data, self.data_limit - self.data_position - blocks)

    def _record(
        self,
        volume: int,
        lba: int,
        blocks: int,
        data_blocks: int,
        flags: int,
        data_crc: int,
        kind: Kind = Kind.UPDATE,
    ) -> None:
        sequence = self.sequence + 1
        now = self._clock()
        if now <= self.time_ns:
            now = self.time_ns + 1
        record = pack_record(
            sequence=sequence,
            time_ns=now,
            volume_lba=lba,
            data_position=self.data_position,
            block_count=blocks,
            data_blocks=data_blocks,
            volume=volume,
            kind=kind,
            flags=flags,
            generation=self._generation,
            data_crc=data_crc,
            tag=self._tag,
        )
        # The slot of the newest record that is not needed is left: it answers who asks what that was.
        self._journal.write_record(sequence, record, self.sequence_limit - sequence - 1)
        self.sequence = sequence
        self.data_position += data_blocks
        self.time_ns = now


if _Append is not None:

    class CompiledAppender(_Newest, _Append):
        """The same, compiled; shorter writes keep the interpreter lock, since handing it over costs more."""

        def __init__(self, journal: JournalVolume, tail: Position, clock: Callable[[], int] | None = None) -> None:
            areas = journal.areas
            super().__init__(
                file=journal.file,
                map=areas.map,
                data_start=areas.data_start,
                data_bytes=areas.data_bytes,
                slots_start=areas.slots_start,
                slot_count=areas.slot_count,
                generation=journal.header.generation,
                tag=group_tag(journal.header.group_uuid),
                sequence=tail.sequence,
                data_position=tail.data_position,
                time_ns=tail.time_ns,
                crc32c=crc32c,
                clock=clock,
            )
            self._journal = journal


AnyAppender = Union[Appender, "CompiledAppender"]


def open_appender(journal: JournalVolume, tail: Position) -> AnyAppender:
    """The quickest append step there is here, after the record at `tail`."""
    plain = _Append is None or journal.several  # the compiled one knows one file
    return Appender(journal, tail) if plain else CompiledAppender(journal, tail)


def piece_bytes_max(journal: JournalVolume) -> int:
    """The longest data of one record: long writes are cut so that a small ring can take them."""
    eighth = journal.data_blocks * BLOCK_BYTES // 8
    return max(4096, min(DATA_BYTES_MAX, eighth // 4096 * 4096))
