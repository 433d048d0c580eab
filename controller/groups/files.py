"""The files of a group as the controller itself sees them: journal read-only, and the pointer page.

Owns opening each once and closing it when the group goes. The journal's
writer is another (the volume server, or the copy worker); of the pointers
the controller publishes `confirmed` only, and that in one place
(controller/groups/primary.py).
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Final

from controller.api.models import Composition, Segment
from controller.errors import IntegrityError
from controller.journal.layout import BLOCK_BYTES, RECORD_BYTES, records_valid
from controller.journal.pointers import PointerPage, Position
from controller.journal.spanned import SpannedJournal
from controller.journal.volume import JournalVolume
from controller.paths import GroupPaths, Paths
from controller.state import GroupRecord

RETIRED_SECONDS: Final = 5.0  # longer than anybody looks at open files


@dataclass(frozen=True)
class OpenGroup:
    """An open journal (read-only) and pointer page. Any thread may read."""

    journal: JournalVolume
    page: PointerPage

    def composition(self) -> Composition:
        header = self.journal.header
        runs = self.journal.segments() if isinstance(self.journal, SpannedJournal) else []
        return Composition(
            journal_uuid=header.journal_uuid,
            block_bytes=BLOCK_BYTES,
            record_bytes=RECORD_BYTES,
            metadata_head_lba=header.metadata_head_lba,
            metadata_block_count=header.metadata_block_count,
            data_head_lba=header.data_head_lba,
            data_block_count=header.data_block_count,
            segments=[Segment(**run._asdict()) for run in runs],
        )

    def position_of(self, sequence: int) -> Position:
        """Where a record that is still in the journal ends; IntegrityError when it is not what it should be."""
        record = self.journal.records(sequence, sequence)
        if not records_valid(record)[0] or int(record[0]["sequence"]) != sequence:
            raise IntegrityError(
                f"record {sequence} of journal {self.journal.path} is damaged or gone",
                hint="Nothing was freed; keep the journal and look at the disk.",
                sequence=sequence,
            )
        end = int(record[0]["data_position"]) + int(record[0]["data_blocks"])
        return Position(sequence, end, int(record[0]["time_ns"]))

    def close(self) -> None:
        self.journal.close()
        self.page.close()


class OpenGroups:
    """Opens the files of a group at first use. Any thread may call."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._lock = threading.Lock()
        self._open: dict[str, OpenGroup] = {}
        self._retired: list[tuple[float, OpenGroup]] = []

    def get(self, group: GroupRecord) -> OpenGroup:
        """The open files; raises what is wrong with them by name."""
        with self._lock:
            self._close_retired()
            found = self._open.get(group.uuid)
            if found is None:
                files = GroupPaths(self._paths.group(group.name))
                page = PointerPage.open(str(files.pointers))
                try:
                    journal = JournalVolume.open(group.journal_path, writable=False, group_uuid=group.uuid)
                except BaseException:
                    page.close()
                    raise
                found = self._open[group.uuid] = OpenGroup(journal, page)
            return found

    def drop(self, group: GroupRecord) -> None:
        """Close the files, before they are removed."""
        with self._lock:
            found = self._open.pop(group.uuid, None)
        if found is not None:
            found.close()

    def renew(self, group: GroupRecord) -> None:
        """Open other files at the next use; those of now stay open a while for who is at them."""
        with self._lock:
            found = self._open.pop(group.uuid, None)
            if found is not None:
                self._retired.append((time.monotonic(), found))

    def _close_retired(self) -> None:
        while self._retired and time.monotonic() - self._retired[0][0] > RETIRED_SECONDS:
            self._retired.pop(0)[1].close()

    def close(self) -> None:
        with self._lock:
            for found in (*self._open.values(), *(each for _, each in self._retired)):
                found.close()
            self._open.clear()
            self._retired.clear()
