"""Hostile journals: mutated records through the checks and through the whole copy path.

Each case is a right run with one record spoiled. The slow oracle says which
record is the first that must be refused; the product must name that very
record, keep what came before it, and leave the SVOL as those made it.
"""

from __future__ import annotations

import random
import resource
import tracemalloc
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from controller.copy.link import DataLink
from controller.errors import PairvolError
from controller.journal.layout import group_tag
from controller.journal.pointers import Position
from controller.journal.recovery import scan
from controller.restore.verify import Expectation, check_records
from tests.crash.hostile.blind import BLIND_TO, blind_to
from tests.crash.hostile.model import apply_run
from tests.crash.hostile.mutations import MUTATIONS, Run, make_run, put_marker
from tests.crash.hostile.oracle import Group, first_wrong, first_wrong_data, first_wrong_marker, whole_records
from tests.crash.hostile.peer import JOURNAL_BYTES, HostilePrimary, Secondary
from tests.crash.links import memory_remote
from tests.crash.results import Controls, Row, wanted

GROUP_UUID = str(uuid.UUID(int=0x5EED))
GENERATION = 2
VOLUME_BLOCKS = {0: 128, 1: 96, 5: 1 << 12}
RUN_RECORDS = 24
GROWTH_BYTES_MAX = 200 << 20
LARGE_BYTES = 12 << 20  # of one marker; the memory it may take does not grow with it
LARGE_GROWTH_BYTES_MAX = 2 << 20


def group_at(position: Position) -> Group:
    """The same group, read on from a position."""
    tag = group_tag(GROUP_UUID)
    return Group(position.sequence, position.data_position, tag, range(GENERATION, GENERATION + 1), VOLUME_BLOCKS)


def spoil(run: Run, name: str, chooser: random.Random) -> Run:
    spoiled = run.copy()
    MUTATIONS[name](spoiled, chooser.randrange(len(run.records)), chooser)
    return spoiled


def expected_good(run: Run) -> int:
    """How many records of a run a reader may take, by the oracle: what they say, then their data."""
    raw = run.records.tobytes()
    wrong = first_wrong(raw, run.group)
    good = len(run.records) if wrong is None else wrong
    for look in (first_wrong_data, first_wrong_marker):
        wrong = look(raw[: good * 64], bytes(run.data), run.group.data_position)
        good = good if wrong is None else wrong
    return good


def whole(run: Run) -> int:
    """How many records of a run are whole, in order and of this group, whatever they say."""
    return whole_records(run.records.tobytes(), bytes(run.data), run.group)


def codec(row: Row, cases: int) -> None:
    """The checks of records against the oracle."""
    chooser = random.Random(row.seed)
    names = list(MUTATIONS)
    for case in range(cases):
        after = Position(chooser.randrange(1 << 40), chooser.randrange(1 << 40))
        group = group_at(after)
        if case % 50 == 0:
            base = make_run(chooser, group, RUN_RECORDS)
        run = spoil(base, names[case % len(names)], chooser)
        after = Position(base.group.sequence, base.group.data_position)
        raw = run.records.tobytes()
        wrong = first_wrong(raw, base.group)
        expected = Expectation(group.tag, GENERATION, GENERATION, VOLUME_BLOCKS)
        row.attempted += 1
        row.reached += raw != base.records.tobytes()
        label = f"codec seed {row.seed} case {case} ({names[case % len(names)]})"
        try:
            good, words = check_records(run.records, after, expected)
        except Exception as error:  # noqa: BLE001 - any other exception is what this looks for
            row.lose(f"{label}: {error!r}")
            continue
        if good != (len(run.records) if wrong is None else wrong):
            row.lose(f"{label}: {good} taken, the oracle takes {wrong}: {words}")
        elif wrong is not None and f"record {after.sequence + 1 + wrong}" not in words:
            row.lose(f"{label}: the refusal does not name record {after.sequence + 1 + wrong}: {words}")


def recovery(row: Row, cases: int, directory: Path) -> None:
    """The same runs as a journal that its own server finds after a crash: never past a record that is not whole.

    Where a record points is for the reader's check to refuse; that it is whole,
    in order and of this group is what recovery answers for.
    """
    chooser = random.Random(row.seed + 2)
    names = list(MUTATIONS)
    directory.mkdir()
    primary = HostilePrimary(directory, GROUP_UUID, GENERATION)
    after = Position(1, 1)
    for case in range(cases):
        base = make_run(chooser, group_at(after), RUN_RECORDS)
        run = spoil(base, names[case % len(names)], chooser)
        primary.serve(run, Position())
        row.attempted += 1
        row.reached += run.records.tobytes() != base.records.tobytes() or run.data != base.data
        label = f"recovery seed {row.seed + 2} case {case} ({names[case % len(names)]})"
        try:
            found = scan(primary.journal, after)[0].sequence - after.sequence
        except Exception as error:  # noqa: BLE001 - any exception is what this looks for
            row.lose(f"{label}: {error!r}")
            continue
        if not expected_good(run) <= found <= whole(run):
            row.lose(f"{label}: {found} taken, right are {expected_good(run)}, whole are {whole(run)}")
        after = Position(after.sequence + RUN_RECORDS, after.data_position + len(base.data) // 512)
    primary.close()


LinkMaker = Callable[[Path], DataLink]


@contextmanager
def pair(
    directory: Path, link: LinkMaker | None, journal_bytes: int = JOURNAL_BYTES
) -> Iterator[tuple[HostilePrimary, Secondary]]:
    """A hostile primary and a real secondary whose links are made by `link`, of a path; without: no network."""
    with ExitStack() as stack:
        primary = HostilePrimary(directory, GROUP_UUID, GENERATION, journal_bytes)
        stack.callback(primary.close)
        secondary = Secondary(directory, GROUP_UUID, GENERATION, VOLUME_BLOCKS, 3 * journal_bytes)
        stack.callback(secondary.close)
        remote = stack.enter_context(memory_remote(primary.journal_path, primary.pointers_path, GENERATION))
        if link is not None:
            remote._journal, remote._pages = link(primary.journal_path), link(primary.pointers_path)
            stack.callback(remote.close)
        secondary.pull.connect(remote)
        yield primary, secondary


def copy_path(
    row: Row, cases: int, directory: Path, link: LinkMaker | None = None, names: Sequence[str] = tuple(MUTATIONS)
) -> None:
    """The same through JournalPull and RestoreProgram into SVOLs, case after case in one ring."""
    chooser = random.Random(row.seed + 1)
    images = {index: bytearray(blocks * 512) for index, blocks in VOLUME_BLOCKS.items()}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pair(directory, link) as (primary, secondary):
        for case in range(cases):
            base = make_run(chooser, group_at(secondary.pull.read), RUN_RECORDS)
            run = spoil(base, names[case % len(names)], chooser)
            good = expected_good(run)
            row.attempted += 1
            row.reached += run.records.tobytes() != base.records.tobytes() or run.data != base.data
            label = f"copy seed {row.seed + 1} case {case} ({names[case % len(names)]})"
            problem = _copy_case(primary, secondary, base, run, good, images)
            if problem:
                row.lose(f"{label}: {problem}")
                break  # the journals no longer agree with the model
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    if grown > GROWTH_BYTES_MAX:
        row.lose(f"copy path: memory grew by {grown} bytes")


def _copy_case(
    primary: HostilePrimary, secondary: Secondary, base: Run, run: Run, good: int, images: dict[int, bytearray]
) -> str:
    """What went wrong in one case; nothing when all is well."""
    last = base.records[-1]
    end = int(last["data_position"]) + int(last["data_blocks"])
    primary.serve(run, Position(int(last["sequence"]), end))
    try:
        refusal = secondary.copy()
        secondary.restore_all()
    except PairvolError as error:
        return f"refused by {type(error).__name__}: {error.message}"
    except Exception as error:  # noqa: BLE001 - any other exception is what this looks for
        return repr(error)
    first_refused = run.group.sequence + 1 + good
    if secondary.pull.read.sequence != first_refused - 1:
        return f"copied to {secondary.pull.read.sequence}, the oracle takes up to {first_refused - 1}: {refusal}"
    if (good == len(run.records)) != (refusal == "") or (refusal and f"record {first_refused} " not in refusal + " "):
        return f"the refusal does not name record {first_refused}: {refusal!r}"
    apply_run(images, run, good)
    for index, image in images.items():
        if secondary.image(index) != image:
            return f"SVOL {index} is not what the right records make it"
    return ""


def large_marker(row: Row, directory: Path) -> None:
    """A marker as long as a journal goes, right in all else: refused by name in the memory of a window.

    What such a marker asks of its reader grows with the journal, so what is held here is measured, not waited for.
    """
    directory.mkdir()
    with pair(directory, None, 2 * LARGE_BYTES) as (primary, secondary):
        run = make_run(random.Random(row.seed), group_at(secondary.pull.read), 3)
        payload = (b'{"what": "named", "name": "' + b"n" * (LARGE_BYTES - 512) + b'"}').ljust(LARGE_BYTES, b"\0")
        put_marker(run, 1, payload)
        last = run.records[-1]
        primary.serve(run, Position(int(last["sequence"]), int(last["data_position"]) + int(last["data_blocks"])))
        del run, payload
        row.attempted += 1
        row.reached += 1
        tracemalloc.start()
        try:
            refusal = secondary.copy()
            secondary.restore_all()
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
    if "record 2 has" not in refusal:
        row.lose(f"large marker: not refused by name: {refusal!r:.200}")
    if peak > LARGE_GROWTH_BYTES_MAX:
        row.lose(f"large marker: {peak} bytes of memory for a marker of {LARGE_BYTES}")


def run(seed: int, cases: int, directory: Path, controls: Controls = None) -> Row:
    """Four in five through the codec, one in ten through recovery and the copy path each; then the controls."""
    row = Row("hostile", seed)
    codec(row, cases * 8 // 10)
    recovery(row, cases // 10, directory / "recovery")
    copy_path(row, cases // 10, directory)
    large_marker(row, directory / "large")
    for number, name in enumerate(wanted(BLIND_TO, controls)):
        folder = directory / f"control{number}"
        folder.mkdir()
        found = Row("control", seed)
        with blind_to(name):
            if name == "large marker":
                large_marker(found, folder / "large")
            else:
                copy_path(found, 12, folder, names=(name,))
        row.control(f"blind to: {name}", bool(found.lost))
    return row
