"""Rows 7 and 8: moving journals to the second site, and applying them there.

The copy and restore programs themselves, on a journal made for the purpose:
4k writes all over a volume. The peers are what the machine can do at best
with the same bytes.
"""

from __future__ import annotations

import os
import random
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any
from unittest.mock import patch

from crc32c import crc32c

from controller.api.models import Composition, CopySource, Links
from controller.certificates import Authority
from controller.copy.link import DataLink
from controller.copy.pull import JournalPull, Outcome
from controller.copy.remote import RemoteJournal
from controller.journal.layout import BLOCK_BYTES, RECORD_BYTES, Kind, group_tag, pack_record
from controller.journal.pointers import Pointer, PointerPage, Position
from controller.journal.volume import JournalVolume
from controller.restore import apply as applying
from controller.restore import program as restoring
from controller.restore.merge import Pieces, merge
from controller.restore.program import RestoreProgram
from controller.restore.space import JournalSpace
from controller.restore.targets import Targets
from controller.tls import Certificates
from controller.volume.backing import Backing
from tests.bench.peers import MIB, filled_file
from tests.bench.rows import Measure, Row, alternate, compare, explained
from tests.support.processes import Processes, free_port
from tests.support.waiting import wait_until

ROWS = ("7", "8")
WRITE_BYTES = 4096
JOURNALS = 64 * 1024  # 256 MiB
VOLUME_BYTES = 512 * MIB
JOURNAL_BYTES = 320 * MIB
MOVED_BYTES = JOURNALS * (WRITE_BYTES + RECORD_BYTES)
DECODED_GOAL = 300_000.0  # journals a second


@dataclass(frozen=True)
class Side:
    """One journal volume with its pointer page, in a directory of their own."""

    directory: Path
    journal: JournalVolume
    pointers: PointerPage

    @classmethod
    def create(cls, stack: ExitStack, directory: Path, group: str) -> Side:
        directory.mkdir()
        path = str(directory / "journal")
        JournalVolume.create(path, JOURNAL_BYTES, group, 1)
        PointerPage.create(str(directory / "pointers")).close()
        side = cls(
            directory,
            JournalVolume.open(path, writable=True, group_uuid=group),
            PointerPage.open(str(directory / "pointers")),
        )
        stack.callback(side.journal.close)
        stack.callback(side.pointers.close)
        return side


def fill(side: Side, pages: Iterator[bytes], count: int) -> None:
    """`count` 4k writes of these pages, durable."""
    tag, blocks, now = group_tag(side.journal.header.group_uuid), WRITE_BYTES // BLOCK_BYTES, time.time_ns()
    dice = random.Random(1)
    for sequence, data in zip(range(1, count + 1), pages, strict=False):
        position = (sequence - 1) * blocks
        side.journal.write_data(position, data)
        record = pack_record(
            sequence=sequence,
            time_ns=now + sequence * 1000,
            volume_lba=dice.randrange(VOLUME_BYTES // WRITE_BYTES) * blocks,
            data_position=position,
            block_count=blocks,
            data_blocks=blocks,
            volume=0,
            kind=Kind.UPDATE,
            flags=0,
            generation=1,
            data_crc=crc32c(data),
            tag=tag,
        )
        side.journal.write_record(sequence, record)
    side.journal.sync()
    side.pointers.publish(Pointer.DURABLE, Position(count, count * blocks, now))


def measure_rows(wanted: set[str], directory: Path, rounds: int) -> list[Row]:
    if not wanted & set(ROWS):
        return []
    group = str(uuid.uuid4())
    with ExitStack() as stack:
        primary = Side.create(stack, directory / "primary", group)
        fill(primary, repeat(os.urandom(WRITE_BYTES)), JOURNALS)
        rows: list[Row] = []
        if "7" in wanted:
            rows += transfer_rows(stack, primary, directory, group, rounds)
        if "8" in wanted:
            rows += restore_rows(primary, directory, rounds)
        return rows


def transfer_rows(stack: ExitStack, primary: Side, directory: Path, group: str, rounds: int) -> Iterator[Row]:
    """The copy program over TCP into a durable journal, against nbdcopy of as many bytes into a file, flushed."""
    plain = directory / "plain"
    plain.mkdir()
    copied = filled_file(plain / "bytes", MOVED_BYTES // MIB * MIB)
    target = filled_file(directory / "copied", copied.stat().st_size)
    secondary = Side.create(stack, directory / "secondary", group)
    certificates = Certificates(Authority.open(directory / "authority").issue("bench", []))
    for words, secured, goal in (("plain", None, 0.9), ("TLS", certificates, 0.8)):
        processes = stack.enter_context(Processes(directory / f"journal-logs-{words}"))
        source = copy_source(primary, served(processes, directory, primary.directory, secured), group)
        uri = f"{served(processes, directory, plain, secured)}bytes"
        measures = transfer_measures(secondary, source, secured, uri, copied.stat().st_size, target)
        measures[0](-1)  # the first one fills pages that nbdcopy's target already has
        ours, theirs = alternate(measures, rounds)
        work = f"journal transfer, loopback TCP, {words}"
        yield compare("7", work, "transfer", "nbdcopy", "MiB/s", ours, theirs, goal)


def transfer_measures(
    secondary: Side, source: CopySource, certificates: Certificates | None, uri: str, size: int, target: Path
) -> list[Measure]:
    """The copy program, and nbdcopy of as many bytes."""

    def transfer(_: int) -> float:
        os.sync()
        # Back to the beginning: the same journals move again into the same, allocated, journal volume.
        secondary.pointers.publish(Pointer.ALREADY_READ, Position())
        space = JournalSpace(secondary.journal, secondary.pointers)
        pull = JournalPull(secondary.journal, secondary.pointers, space, {0: VOLUME_BYTES // BLOCK_BYTES})
        pull.connect(RemoteJournal(source, link_type=partial(DataLink, certificates=certificates)))
        started = time.perf_counter()
        while pull.step().outcome is Outcome.MORE:
            pass
        seconds = time.perf_counter() - started
        pull.close()
        assert pull.read.sequence == JOURNALS, pull.read
        return MOVED_BYTES / seconds / MIB

    def nbdcopy(_: int) -> float:
        os.sync()
        started = time.perf_counter()
        secured = f"{uri}?tls-certificates={certificates.directory}" if certificates is not None else uri
        subprocess.run(["nbdcopy", "--flush", "--allocated", secured, target], check=True)
        return size / (time.perf_counter() - started) / MIB

    return [transfer, nbdcopy]


def served(processes: Processes, directory: Path, exported: Path, certificates: Certificates | None) -> str:
    """The address of a stock `nbdkit file` that exports a directory, as a journal server does."""
    port = free_port()
    pidfile = directory / f"{port}.pid"
    tls: list[str] = []
    if certificates is not None:
        tls = ["--tls=require", f"--tls-certificates={certificates.directory}", "--tls-verify-peer"]
    words: list[str | Path] = [
        "nbdkit",
        "-f",
        "-r",
        "--pidfile",
        pidfile,
        "-i",
        "127.0.0.1",
        "-p",
        str(port),
        *tls,
        "--filter=noparallel",
        "file",
        f"dir={exported}",
        "serialize=requests",
    ]
    processes.start(words, f"nbdkit-{port}")
    wait_until(pidfile.exists, 20, f"nbdkit to serve {exported}")
    return f"{'nbds' if tls else 'nbd'}://127.0.0.1:{port}/"


def copy_source(primary: Side, uri: str, group: str) -> CopySource:
    header = primary.journal.header
    composition = Composition(
        journal_uuid=header.journal_uuid,
        metadata_head_lba=header.metadata_head_lba,
        metadata_block_count=header.metadata_block_count,
        data_head_lba=header.data_head_lba,
        data_block_count=header.data_block_count,
    )
    links = Links(journal_uri=f"{uri}journal", pointers_uri=f"{uri}pointers", volume_uris={})
    return CopySource(site="tokyo", uuid=group, generation=1, composition=composition, links=links)


def sorted_runs(pieces: Pieces) -> list[tuple[int, int]]:
    """What touches on the volume, joined: (byte offset, bytes)."""
    runs: list[tuple[int, int]] = []
    for lba, blocks in zip(pieces.lba.tolist(), pieces.blocks.tolist(), strict=True):
        offset, length = lba * BLOCK_BYTES, blocks * BLOCK_BYTES
        if runs and sum(runs[-1]) == offset:
            runs[-1] = (runs[-1][0], runs[-1][1] + length)
        else:
            runs.append((offset, length))
    return runs


RESTORE_STEPS = (
    (restoring, "check_records", "ms checks of records"),
    (restoring, "check_data", "ms checks of data"),
    (applying, "merge", "ms merging"),
    (applying, "write_pieces", "ms writing"),
    (Backing, "sync", "ms syncs of the volume"),
)


def restore_steps(restore: Measure) -> dict[str, float]:
    """How long each step of one restore takes."""
    took: dict[str, float] = {}

    def timed(step: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            started = time.perf_counter()
            try:
                return step(*arguments)
            finally:
                took[name] = took.get(name, 0.0) + (time.perf_counter() - started) * 1e3

        return call

    with ExitStack() as stack:
        for owner, step, name in RESTORE_STEPS:
            stack.enter_context(patch.object(owner, step, timed(getattr(owner, step), name)))
        started = time.perf_counter()
        restore(0)
        whole = (time.perf_counter() - started) * 1e3
    return {name: round(value) for name, value in {**took, "ms in all": whole}.items()}


def restore_rows(side: Side, directory: Path, rounds: int) -> Iterator[Row]:
    """The restore program, against one pwrite for each run of the same bytes, sorted and merged before."""
    backing = Backing.open(str(filled_file(directory / "restored.img", VOLUME_BYTES)), VOLUME_BYTES)
    plain = Backing.open(str(filled_file(directory / "sorted.img", VOLUME_BYTES)), VOLUME_BYTES)
    try:
        runs = sorted_runs(merge(side.journal.records(1, JOURNALS)))

        def restore(_: int) -> float:
            os.sync()
            side.pointers.publish(Pointer.ALREADY_RESTORED, Position())
            program = RestoreProgram(side.journal, side.pointers, Targets({0: backing}))
            started = time.perf_counter()
            while program.step(JOURNALS):
                if program.sync_due_seconds() <= 0:
                    program.settle()
            program.settle()
            return program.bytes_written / (time.perf_counter() - started) / MIB

        def sorted_writes(_: int) -> float:
            os.sync()
            data = {length: os.urandom(length) for length in {length for _, length in runs}}
            started = time.perf_counter()
            for offset, length in runs:
                os.pwrite(plain.file, data[length], offset)
            plain.sync()
            return sum(length for _, length in runs) / (time.perf_counter() - started) / MIB

        ours, theirs = alternate([restore, sorted_writes], rounds)
        row = compare("8", "restore of random 4k journals", "restore", "sorted pwrite", "MiB/s", ours, theirs, 0.9)
        yield explained(row, restore_steps(restore))

        def decode(_: int) -> float:
            started = time.perf_counter()
            assert len(merge(side.journal.records(1, JOURNALS)).lba)
            return JOURNALS / (time.perf_counter() - started)

        decoded, goal = alternate([decode, lambda _: DECODED_GOAL], rounds)
        yield compare("8", "journals decoded and merged", "restore", "the goal", "1/s", decoded, goal, 1.0)
    finally:
        backing.close()
        plain.close()
