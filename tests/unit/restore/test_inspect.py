"""Digests met by restore: compared at their place in the order, listed durably, never a false alarm."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from controller.api.runs import RunKind, VerifyState
from controller.errors import IntegrityError, StorageError
from controller.journal.layout import Flag
from controller.journal.markers import MarkerKind
from controller.journal.pointers import Pointer, PointerPage
from controller.restore.inspect import Inspector
from controller.restore.program import RestoreProgram
from controller.restore.targets import Targets
from controller.volume.backing import Backing
from tests.unit.copy.parts import Primary, block, content, svol

KIB = 1 << 10
VOLUME_BYTES = 1 << 20


@dataclass
class Group:
    """A journal whose content is already read, its SVOL, and what inspects it."""

    directory: Path
    primary: Primary
    pointers: PointerPage
    svol: Backing
    comparable: bool = True
    runs: list[tuple[str, int, int | None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.open()

    def open(self) -> None:
        targets = Targets({0: self.svol})
        self.inspector = Inspector(
            self.directory / "verify.json",
            targets,
            lambda sequence: self.comparable,
            lambda *passed: self.runs.append(passed),
        )
        self.program = RestoreProgram(self.primary.journal, self.pointers, targets, inspector=self.inspector)

    def begin(self, run: str = "r", task: str = "t", kind: RunKind = RunKind.VERIFY, total: int = VOLUME_BYTES) -> None:
        self.primary.note(MarkerKind.RUN_BEGUN, run=run, task=task, kind=str(kind), bytes_total=total)

    def end(self, run: str = "r") -> None:
        self.primary.note(MarkerKind.RUN_ENDED, run=run, bytes_done=VOLUME_BYTES)

    def restore(self, settle: bool = True) -> VerifyState:
        self.pointers.publish(Pointer.ALREADY_READ, self.primary.end)
        while self.program.step(self.primary.end.sequence):
            pass
        if settle:
            self.program.settle()
        assert self.inspector.state is not None
        return self.inspector.state

    def flip(self, offset: int) -> None:
        held = bytearray(512)
        self.svol.pread_into(held, offset)
        held[7] ^= 1
        self.svol.pwrite(held, offset)


@pytest.fixture
def group(tmp_path: Path) -> Iterator[Group]:
    primary = Primary(tmp_path / "primary", 8 << 20, {0: VOLUME_BYTES})
    pointers = PointerPage.create(str(tmp_path / "pointers"))
    target = svol(tmp_path / "svol", VOLUME_BYTES)
    for number in range(0, 256, 3):
        primary.write(0, number * 8, block(number + 1, 8))
    yield Group(tmp_path, primary, pointers, target)
    target.close()
    pointers.close()
    primary.close()


def places(found: VerifyState, kind: str = "different") -> list[tuple[int, int]]:
    return [(each.offset, each.length) for each in getattr(found, kind)]


def test_what_is_the_same_is_found_the_same(group: Group) -> None:
    group.begin()
    group.primary.digest("r", 0, 0, 512 * KIB)
    last = group.primary.digest("r", 0, 512 * KIB, 512 * KIB)
    state = group.restore()
    assert (state.bytes_done, state.sequence, state.ended) == (VOLUME_BYTES, last, False)
    group.end()
    state = group.restore()
    assert state.ended
    assert not state.different
    assert not state.unsure
    assert group.runs == [("r", 0, None), ("r", VOLUME_BYTES, state.sequence)]


def test_a_flipped_bit_is_named_to_a_unit_with_the_sequence(group: Group) -> None:
    group.begin()
    group.restore()
    group.flip(200 * KIB)
    at = group.primary.digest("r", 0, 0, VOLUME_BYTES)
    state = group.restore()
    assert state.different == [(0, 192 * KIB, 64 * KIB, at)]
    assert state.different_bytes == 64 * KIB
    assert json.loads((group.directory / "verify.json").read_text())["different"] == [[0, 192 * KIB, 64 * KIB, at]]


def test_writes_behind_a_digest_in_one_batch_are_no_difference(group: Group) -> None:
    group.begin()
    for number in range(20):
        group.primary.digest("r", 0, 0, VOLUME_BYTES)
        group.primary.write(0, number, block(200 + number))
        group.primary.clear(0, 100 + number, 1, Flag.TRIM)
    assert not group.restore().different
    assert content(group.svol) == group.primary.volumes[0]


def test_control_a_batch_that_is_not_cut_gives_false_alarms(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RestoreProgram, "_parts", lambda program, records: [records])
    group.begin()
    group.restore()
    group.primary.write(0, 0, block(201))
    group.primary.digest("r", 0, 0, VOLUME_BYTES)
    assert group.restore().different, "the digest is looked at before the write in front of it is applied"


def test_zeros_are_compared_without_digests(group: Group) -> None:
    group.primary.clear(0, 0, VOLUME_BYTES // 512, Flag.ZERO)
    group.begin()
    group.primary.digest("r", 0, 0, VOLUME_BYTES, zeros=True)
    assert not group.restore().different
    group.flip(300 * KIB)
    group.primary.digest("r", 0, 0, VOLUME_BYTES, zeros=True)
    [(offset, length)] = places(group.restore())
    assert offset <= 300 * KIB < offset + length <= offset + 64 * KIB


def test_volumes_ahead_of_restore_make_it_unsure_until_verified_again(group: Group) -> None:
    group.begin()
    group.restore()
    group.primary.digest("r", 0, 0, VOLUME_BYTES)
    group.primary.write(0, 50, block(99))
    group.restore(settle=False)  # applied, and not known durable: a kill comes
    group.open()
    state = group.restore()
    assert not state.different
    assert places(state, "unsure") == [(0, 64 * KIB)]
    group.begin(run="r2")
    group.primary.digest("r2", 0, 0, 64 * KIB)
    group.end("r2")
    state = group.restore()
    assert (state.run, state.unsure, state.different, state.ended) == ("r2", [], [], True)


def test_volumes_that_are_no_state_of_the_primary_make_it_unsure(group: Group) -> None:
    group.comparable = False
    group.begin()
    group.restore()
    group.flip(0)
    group.primary.digest("r", 0, 0, VOLUME_BYTES)
    state = group.restore()
    assert not state.different
    assert places(state, "unsure") == [(0, 64 * KIB)]


@contextmanager
def disk_refuses(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Within this no result of a run can be written."""

    def refuse(*_: object) -> None:
        raise StorageError("no room")

    with monkeypatch.context() as patch:
        patch.setattr("controller.restore.inspect.durable.write_json", refuse)
        yield


def test_what_was_found_is_durable_before_the_pointer_passes(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    group.begin()
    group.restore()
    group.flip(0)
    group.primary.digest("r", 0, 0, VOLUME_BYTES)
    before = group.pointers.read(Pointer.ALREADY_RESTORED)

    with disk_refuses(monkeypatch), pytest.raises(StorageError):
        group.restore()
    assert group.pointers.read(Pointer.ALREADY_RESTORED) == before
    group.program.reset()
    assert places(group.restore(), "unsure") == [(0, 64 * KIB)]  # looked at again; nothing is lost


def test_the_end_of_a_run_is_told_when_it_is_durable(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    group.begin()
    group.primary.digest("r", 0, 0, VOLUME_BYTES)
    group.end()

    with disk_refuses(monkeypatch):
        with pytest.raises(StorageError):
            group.restore()
        told = group.inspector.since(0)
        assert told is not None
        assert not told.ended, "a result that no restart finds is none"
    group.program.reset()
    group.restore()
    told = group.inspector.since(0)
    assert told is not None
    assert told.ended


def test_a_repair_takes_off_what_it_mended(group: Group) -> None:
    group.begin()
    group.restore()
    group.flip(128 * KIB)
    group.flip(700 * KIB)
    group.primary.digest("r", 0, 0, VOLUME_BYTES)
    group.end()
    state = group.restore()
    assert places(state) == [(128 * KIB, 64 * KIB), (640 * KIB, 64 * KIB)]
    group.begin(run="r2", kind=RunKind.REPAIR, total=128 * KIB)
    for offset, length in places(state):
        group.primary.base(0, offset, length)
        group.primary.digest("r2", 0, offset, length)
    group.end("r2")
    state = group.restore()
    assert (state.different, state.repaired_bytes, state.bytes_verified) == ([], 128 * KIB, VOLUME_BYTES)
    assert content(group.svol) == group.primary.volumes[0]


def test_another_task_begins_with_empty_lists(group: Group) -> None:
    group.begin()
    group.restore()
    group.flip(0)
    group.primary.digest("r", 0, 0, VOLUME_BYTES)
    assert group.restore().different
    group.begin(run="n", task="n")
    assert not group.restore().different


@pytest.mark.parametrize(
    ("what", "facts"),
    [
        ("digest", {}),
        ("digest", {"volume": 0, "offset": -1, "length": 9, "unit": 512, "digests": "", "bytes_done": 0}),
        ("digest", {"volume": 0, "offset": 0, "length": 512, "unit": 0, "digests": "", "bytes_done": 0}),
        ("digest", {"volume": 0, "offset": 0, "length": 512, "unit": 512, "digests": "ab", "bytes_done": 0}),
        ("run begun", {"kind": "of the future"}),
    ],
)
def test_a_marker_that_makes_no_sense_stops_restore_by_name(group: Group, what: str, facts: dict[str, object]) -> None:
    group.begin()
    group.restore()
    group.primary.note(MarkerKind(what), run="r", **facts)
    with pytest.raises(IntegrityError, match="cannot be understood"):
        group.restore()


def test_a_digest_of_more_than_is_here_is_a_difference(group: Group) -> None:
    group.begin()
    group.primary.volumes[0] += bytes(VOLUME_BYTES)
    group.primary.digest("r", 0, VOLUME_BYTES - 64 * KIB, 128 * KIB)
    assert places(group.restore()) == [(VOLUME_BYTES - 64 * KIB, 128 * KIB)]


def test_what_was_found_before_the_volumes_were_copied_anew_is_void(group: Group) -> None:
    group.begin()
    group.restore()
    group.flip(0)
    at = group.primary.digest("r", 0, 0, VOLUME_BYTES)
    group.restore()
    old, new = group.inspector.since(at), group.inspector.since(at + 1)
    assert old is not None
    assert new is not None
    assert (places(old), old.different_bytes) == ([(0, 64 * KIB)], 64 * KIB)
    assert (places(new), new.different_bytes) == ([], 0)


DIGEST = {"run": "r", "volume": 0, "offset": 0, "length": 64 * KIB, "unit": 64 * KIB, "digests": "", "bytes_done": 0}


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"length": 1 << 40, "unit": 1 << 40, "digests": "0" * 32}, "more than 33554432"),
        ({"length": (32 << 20) + 512, "unit": 64 * KIB}, "more than 33554432"),
        ({"length": float("inf")}, "length is no number"),
        ({"offset": 1e300}, "offset is no number"),
        ({"offset": -512}, "offset is no number"),
        ({"bytes_done": 1 << 64}, "bytes_done is no number"),
        ({"volume": True}, "volume is no number"),
        ({"unit": "65536"}, "unit is no number"),
        ({"digests": None}, "no range"),
    ],
)
def test_a_digest_that_makes_no_sense_is_named_and_nothing_is_read_for_it(
    group: Group, facts: dict[str, object], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    group.begin()
    group.restore()
    at = group.primary.note(MarkerKind.DIGEST, **(DIGEST | facts))
    read: list[int] = []
    monkeypatch.setattr("controller.restore.inspect._read", lambda *place: read.append(place[2]))
    with pytest.raises(IntegrityError, match=words) as caught:
        group.restore()
    assert caught.value.facts["sequence"] == at
    assert "\n" not in caught.value.message
    assert not read


@pytest.mark.parametrize("facts", [{"bytes_total": "x"}, {"bytes_total": 1.5}, {"kind": "?"}, {"task": "no name \n"}])
def test_the_beginning_of_a_run_that_makes_no_sense_is_named_in_one_line(
    group: Group, facts: dict[str, object]
) -> None:
    begun = {"run": "r", "task": "t", "kind": "verify", "bytes_total": 1}
    at = group.primary.note(MarkerKind.RUN_BEGUN, **(begun | facts))
    with pytest.raises(IntegrityError, match=f"marker {at} of a run cannot be understood") as caught:
        group.restore()
    assert "\n" not in caught.value.message
