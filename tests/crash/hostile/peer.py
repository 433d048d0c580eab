"""A primary that serves whatever it is told to, and a real secondary that copies and restores from it."""

from __future__ import annotations

from pathlib import Path

from controller.copy.pull import JournalPull, Outcome
from controller.errors import CapacityError, IntegrityError
from controller.journal.layout import BLOCK_BYTES
from controller.journal.pointers import Pointer, PointerPage, Position
from controller.journal.volume import JournalVolume
from controller.restore.program import RestoreProgram
from controller.restore.space import JournalSpace
from controller.restore.targets import Targets
from controller.volume.backing import Backing
from tests.crash.hostile.mutations import Run

JOURNAL_BYTES = 1 << 20
STEPS_MAX = 50  # a run is pulled in one step, and read again a few times when it is spoiled


class HostilePrimary:
    """A journal volume and a pointer page into which anything may be written."""

    def __init__(self, directory: Path, group_uuid: str, generation: int, journal_bytes: int = JOURNAL_BYTES) -> None:
        self.journal_path, self.pointers_path = directory / "primary-journal", directory / "primary-pointers"
        JournalVolume.create(str(self.journal_path), journal_bytes, group_uuid, generation)
        self.pointers = PointerPage.create(str(self.pointers_path))
        self.journal = JournalVolume.open(str(self.journal_path), writable=True)

    def serve(self, run: Run, durable: Position) -> None:
        """Put a run where its reader looks for it, and call all of it durable."""
        self.journal.write_records(run.group.sequence + 1, run.records)
        if run.data:
            self.journal.write_data(run.group.data_position, run.data)
        self.pointers.publish(Pointer.DURABLE, durable)

    def close(self) -> None:
        self.journal.close()
        self.pointers.close()


class Secondary:
    """The product's copy and restore programs over their own files."""

    def __init__(
        self, directory: Path, group_uuid: str, generation: int, volume_blocks: dict[int, int], journal_bytes: int
    ) -> None:
        JournalVolume.create(str(directory / "journal"), journal_bytes, group_uuid, generation)
        self.pointers = PointerPage.create(str(directory / "pointers"))
        self.journal = JournalVolume.open(str(directory / "journal"), writable=True)
        self.volumes = {}
        for index, blocks in volume_blocks.items():
            path = directory / f"svol{index}"
            path.write_bytes(bytes(blocks * BLOCK_BYTES))
            self.volumes[index] = Backing.open(str(path), blocks * BLOCK_BYTES)
        self.pull = JournalPull(self.journal, self.pointers, JournalSpace(self.journal, self.pointers), volume_blocks)
        self.restore = RestoreProgram(self.journal, self.pointers, Targets(self.volumes))

    def copy(self) -> str:
        """Copy all there is; the words of the refusal, or nothing when the primary has no more."""
        try:
            for _ in range(STEPS_MAX):
                if self.pull.step().outcome is Outcome.NOTHING:
                    break
            else:
                raise RuntimeError(f"the copy did not end within {STEPS_MAX} steps")
        except (IntegrityError, CapacityError) as error:
            return error.message
        return ""

    def restore_all(self) -> None:
        while self.restore.step(self.pull.read.sequence):
            pass
        self.restore.settle()

    def image(self, index: int) -> bytes:
        backing = self.volumes[index]
        return Path(backing.path).read_bytes()

    def close(self) -> None:
        self.journal.close()
        self.pointers.close()
        for backing in self.volumes.values():
            backing.close()
