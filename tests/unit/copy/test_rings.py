"""Whatever the sizes of the two rings and wherever they wrap, the SVOL is a prefix of the PVOL's history."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.copy.pull import JournalPull, Outcome
from controller.journal.layout import BLOCK_BYTES, Flag
from controller.journal.pointers import Pointer, PointerPage, Position
from controller.journal.recovery import recover
from controller.journal.volume import JournalVolume
from controller.restore.program import RestoreProgram
from controller.restore.space import JournalSpace
from controller.restore.targets import Targets
from controller.volume.backing import Backing
from tests.unit.copy.parts import Primary, block, content, empty_secondary, file_remote, marker_data, svol

VOLUME_BLOCKS = 600
VOLUMES = (0, 5)


class Secondary:
    """A secondary that can be dropped at any moment and opened again."""

    def __init__(self, directory: Path, primary: Primary) -> None:
        self.directory = directory
        self.primary = primary
        self.open()

    def open(self) -> None:
        self.journal = JournalVolume.open(str(self.directory / "journal"), writable=True)
        self.pointers = PointerPage.open(str(self.directory / "pointers"))
        names = {index: str(self.directory / f"svol{index}") for index in VOLUMES}
        self.svols = {index: Backing.open(name, VOLUME_BLOCKS * BLOCK_BYTES) for index, name in names.items()}
        restored, read = self.pointers.read(Pointer.ALREADY_RESTORED), self.pointers.read(Pointer.ALREADY_READ)
        assert recover(self.journal, restored, read) == read
        space = JournalSpace(self.journal, self.pointers)
        self.pull = JournalPull(self.journal, self.pointers, space, dict.fromkeys(VOLUMES, VOLUME_BLOCKS))
        self.pull.connect(file_remote(self.primary.source()))
        self.restore = RestoreProgram(self.journal, self.pointers, Targets(self.svols))

    def drop(self) -> None:
        """As a kill: nothing is settled, synced or persisted."""
        self.pull.close()
        for backing in self.svols.values():
            backing.close()
        self.pointers.close()
        self.journal.close()

    def image(self) -> bytes:
        return b"".join(content(self.svols[index]) for index in VOLUMES)


WRITES = st.tuples(
    st.sampled_from(["write", "write", "write", "zero", "trim", "marker"]),
    st.sampled_from(VOLUMES),
    st.integers(0, VOLUME_BLOCKS - 1),
    st.integers(1, 40),
)
STEPS = st.one_of(
    st.lists(WRITES, min_size=1, max_size=60),
    st.sampled_from(["pull", "pull", "apply", "settle", "kill"]),
)


def take(primary: Primary, kind: str, volume: int, lba: int, blocks: int, number: int) -> None:
    blocks = min(blocks, VOLUME_BLOCKS - lba)
    if kind == "write":
        primary.write(volume, lba, block(number, blocks))
    elif kind == "marker":
        primary.marker(marker_data(number, 1 + blocks % 3))
    else:
        primary.clear(volume, lba, blocks, Flag.ZERO if kind == "zero" else Flag.TRIM)


def run(directory: Path, secondary_bytes: int, steps: list[object]) -> None:
    primary = Primary(directory / "primary", 1 << 20, dict.fromkeys(VOLUMES, VOLUME_BLOCKS * BLOCK_BYTES))
    empty_secondary(directory / "secondary", secondary_bytes)
    for index in VOLUMES:
        svol(directory / "secondary" / f"svol{index}", VOLUME_BLOCKS * BLOCK_BYTES).close()
    secondary = Secondary(directory / "secondary", primary)
    history = {0: b"".join(bytes(primary.volumes[index]) for index in VOLUMES)}
    confirmed = Position()
    number = 0
    for step in [*steps, "pull", "apply", "settle", "pull", "apply", "settle"]:
        if isinstance(step, list):
            for kind, volume, lba, blocks in step:
                room = primary.journal.data_blocks - (primary.end.data_position - confirmed.data_position)
                if room < 40 or primary.end.sequence - confirmed.sequence >= primary.journal.slot_count:
                    break
                number += 1
                take(primary, kind, volume, lba, blocks, number)
                history[number] = b"".join(bytes(primary.volumes[index]) for index in VOLUMES)
            primary.commit()
        elif step == "pull":
            while secondary.pull.step().outcome is Outcome.MORE:
                pass
            confirmed = secondary.pull.read
        elif step == "apply":
            while secondary.restore.step(min(secondary.pull.read.sequence, secondary.restore.applied.sequence + 7)):
                pass
            assert secondary.image() == history[secondary.restore.applied.sequence]
        elif step == "settle":
            secondary.restore.settle()
        else:
            secondary.drop()
            secondary.open()
    while secondary.restore.restored != primary.end:
        secondary.pull.step()
        secondary.restore.step(secondary.pull.read.sequence)
        secondary.restore.settle()
    assert secondary.image() == history[primary.end.sequence]
    secondary.drop()
    primary.close()


@settings(max_examples=60, deadline=None)
@given(
    # One block of slots is 8 records; sizes chosen so that neither modulus divides the other.
    secondary_bytes=st.sampled_from([1 << 20, (1 << 20) + 40 * 512, 1300 * 1024, 3 << 20]),
    steps=st.lists(STEPS, max_size=30),
)
def test_svol_is_a_prefix_whatever_the_rings(secondary_bytes: int, steps: list[object]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        run(Path(directory), secondary_bytes, steps)


def test_both_rings_wrap_in_the_middle_of_batches(tmp_path: Path) -> None:
    lap: list[object] = [
        [("write", volume, (17 * n) % 500, 3 + n % 38) for n in range(30) for volume in VOLUMES],
        "pull",
        "apply",
        "settle",
    ]
    run(tmp_path, 1300 * 1024, [step for _ in range(12) for step in lap])
