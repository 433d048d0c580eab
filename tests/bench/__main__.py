"""`python -m tests.bench [--rows 1,3]`: measures, prints the table, writes build/bench.json.

Every figure stands beside its peer's, measured in turn in the same run:
absolute numbers of a machine say little, ratios say something.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import psutil
from rich.console import Console

from hostagent.cli.demo.sites import TwoSites
from hostagent.client import Agent
from tests.bench import block, cost, journal, lag, peers, profile, qemu, report, slow_link, switching
from tests.bench.rows import Row
from tests.bench.sites import own_directory
from tests.support.processes import PROJECT, Processes

MEMORY = Path("/dev/shm")
MEMORY_BYTES = 8 << 30  # of it, free, before the second site is put there
SAME = Path("SAME")
SECOND_HELP = (
    f"where the second site's files lie in rows 1 to 6, 9 and 15: {MEMORY} when it has room, as sites do not share "
    f"a disk; {SAME}: on the same disk as the first"
)
PIECES_HELP = (
    f"bytes of each write that the volumes of rows 1 to 6 are filled with: {peers.PIECE_BYTES}, or {peers.MIB} for "
    "volumes as a copy in large pieces leaves them in the page cache"
)

BLOCK_ROWS = {row.row for row in block.ROWS}
KNOWN_ROWS = (
    *sorted(BLOCK_ROWS),
    "6",
    *journal.ROWS,
    *lag.ROWS[:1],
    *switching.ROWS,
    *cost.ROWS,
    *lag.ROWS[1:],
    *slow_link.ROWS,
)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rows", default=",".join(KNOWN_ROWS), help=f"which rows, of {','.join(KNOWN_ROWS)}")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each peer in a row")
    parser.add_argument("--seconds", type=float, default=1.5, help="of each fio run")
    parser.add_argument("--dir", type=Path, default=Path("/var/tmp"), help="where volumes lie: a real disk, not memory")
    parser.add_argument("--second-dir", type=Path, default=None, help=SECOND_HELP)
    parser.add_argument("--pieces", type=int, default=peers.PIECE_BYTES, help=PIECES_HELP)
    parser.add_argument("--new", action="store_true", help="rows 1 to 6: volumes and journals as they are when made")
    parser.add_argument("--cold", action="store_true", help="rows 1 to 6: the page cache is given up before a run")
    options = parser.parse_args()
    if options.cold and os.geteuid() != 0:
        parser.error("--cold is for root: the page cache is the whole machine's")
    if options.pieces < 512 or peers.MIB % options.pieces:
        parser.error(f"--pieces is a part of {peers.MIB}, of 512 bytes at least")
    if options.new:
        options.pieces = peers.NEW
    unknown = set(options.rows.split(",")) - set(KNOWN_ROWS)
    if unknown:
        parser.error(f"no such row: {', '.join(sorted(unknown))}; there are {', '.join(KNOWN_ROWS)}")
    return options


def second_place(options: argparse.Namespace) -> Path | None:
    """Where the second site lies; None: beside the first."""
    if options.second_dir is not None:
        return None if options.second_dir == SAME else Path(options.second_dir)
    roomy = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= MEMORY_BYTES
    return MEMORY if roomy and psutil.virtual_memory().available >= MEMORY_BYTES else None


def place_text(first: Path, second: Path | None) -> str:
    """What the reader of the table must know about the disks."""
    if second is None:
        return f"both sites share the disk of {first} and the processors, and so does whoever measures"
    return (
        f"rows 1 to 6, 9, 15: the second site's files in {second}, in place of another machine's disk; all else on "
        f"the disk of {first}; both sites, and whoever measures, share the processors"
    )


def block_rows(
    wanted: set[str], directory: Path, place: Path | None, options: argparse.Namespace, console: Console
) -> list[Row]:
    rows = [row for row in block.ROWS if row.row in wanted or "6" in wanted]
    if not rows:
        return []
    with ExitStack() as stack:
        processes = stack.enter_context(Processes(directory / "logs"))
        elsewhere = directory if place is None else own_directory(stack, place)
        sites = TwoSites.create(directory, second_directory=elsewhere)
        stack.callback(sites.stop)
        sites.start()
        first = stack.enter_context(Agent(sites.primary.agent_url))
        second = stack.enter_context(Agent(sites.secondary.agent_url))
        with console.status("filling volumes, first copy to the second site"):
            pieces = options.pieces
            mirror = qemu.qemu_mirror(stack, processes, directory, elsewhere, pieces)
            if mirror is None:
                console.print("row 6 is left out: qemu-storage-daemon is not installed")
            measured = [
                peers.nbdkit_file(stack, processes, directory, pieces),
                qemu.qemu_nbd(stack, processes, directory, pieces),
                *([] if mirror is None else [mirror]),
                peers.pairvol_unpaired(first, directory, pieces),
                peers.pairvol_paired(sites, first, second, directory, pieces),
            ]
        found = []
        with console.status("measuring") as status:
            for row in block.measure_rows(rows, measured, directory, options.rounds, options.seconds, options.cold):
                found.append(row)
                line = f"row {row.row}, {row.work}: {row.subject} {row.ratio:.2f} x {row.peer}"
                status.update(line)
                if not console.is_terminal:
                    console.print(line)
        with console.status("profiling what is not reached"):
            return profile.profile_unreached(found, measured, options.seconds)


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # sites and mounts end as after an error
    options = parse()
    wanted, second = set(options.rows.split(",")), second_place(options)
    console = Console()
    if not console.is_terminal:
        console = Console(width=140)
    directory = Path(tempfile.mkdtemp(prefix="pairvol-bench-", dir=options.dir))
    try:
        rows = block_rows(wanted, directory, second, options, console)
        with console.status("measuring") as status:
            for row in (
                *journal.measure_rows(wanted, directory, options.rounds),
                *lag.measure_rows(wanted & {"9"}, directory, second, options.rounds, options.seconds),
                *switching.measure_rows(wanted, directory, options.rounds),
                *cost.measure_rows(wanted, directory, options.rounds, options.seconds),
                *lag.measure_rows(wanted & {"15"}, directory, second, options.rounds, options.seconds),
                *slow_link.measure_rows(wanted, directory, options.rounds),
            ):
                rows.append(row)
                status.update(f"row {row.row}, {row.work}")
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        os.sync()
    path = PROJECT / "build" / "bench.json"
    report.write(rows, path)
    report.show(rows, place_text(options.dir, second), console)
    console.print(f"written to {path}")


if __name__ == "__main__":
    main()
