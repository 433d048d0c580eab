"""Row 17: journals moved over a slow link, compressed against plain.

The link is a veth pair between two network namespaces, shaped by `tc tbf` at
the primary's end; journal server, relay and copy program are the product's.
Both ways move the same journals into the same durable journal volume, in
turn. Needs root.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final

from controller.api.models import Links
from controller.copy.bucket import Lane
from controller.copy.pull import JournalPull, Outcome
from controller.copy.remote import RemoteJournal
from controller.copy.ways import Ways
from controller.journal.layout import BLOCK_BYTES, RECORD_BYTES
from controller.journal.pointers import Pointer, Position
from controller.restore.space import JournalSpace
from tests.bench.journal import VOLUME_BYTES, WRITE_BYTES, Side, copy_source, fill
from tests.bench.peers import MIB
from tests.bench.rows import Figure, Measure, Row, alternate, compare
from tests.support.processes import Processes
from tests.support.waiting import wait_until

ROWS: Final = ("17",)
RATES_MBIT: Final = {10: 768, 100: 4096}  # journals that are moved: some seconds without compression
SERVER, CLIENT = "10.77.0.1", "10.77.0.2"
JOURNAL_PORT, RELAY_PORT = 10809, 10810


def text_pages() -> Iterator[bytes]:
    """4 KiB each of what this project's own files say."""
    files = sorted(Path(__file__).resolve().parents[2].glob("*/**/*.py"))
    text = b"".join(path.read_bytes() for path in files)
    while True:
        for start in range(0, len(text) - WRITE_BYTES, WRITE_BYTES):
            yield text[start : start + WRITE_BYTES]


def database_pages() -> Iterator[bytes]:
    """Two thirds full of rows: a key that grows, a random number, a word, and padding, as tables have them."""
    dice, key = random.Random(17), 0
    words = [b"tokyo", b"osaka", b"paid", b"open", b"returned", b"customer", b"invoice"]
    while True:
        page = bytearray()
        while len(page) < WRITE_BYTES * 2 // 3:
            key += 1
            page += key.to_bytes(8, "little") + dice.randbytes(6) + dice.choice(words).ljust(18)
        yield bytes(page.ljust(WRITE_BYTES, b"\0")[:WRITE_BYTES])


def noise() -> Iterator[bytes]:
    """What is compressed or encrypted already."""
    dice = random.Random(18)
    while True:
        yield dice.randbytes(WRITE_BYTES)


CONTENTS: Final[dict[str, Callable[[], Iterator[bytes]]]] = {
    "text": text_pages,
    "database pages": database_pages,
    "random bytes": noise,
}


def measure_rows(wanted: set[str], directory: Path, rounds: int) -> list[Row]:
    """In a process of its own, which has a network of its own."""
    if not wanted & set(ROWS):
        return []
    command = ["unshare", "--net", sys.executable, "-m", "tests.bench.slow_link", str(directory), str(rounds)]
    rows = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    return [_row(json.loads(row)) for row in rows]


def _row(told: dict[str, object]) -> Row:
    figures = {name: Figure(**told.pop(name)) for name in ("ours", "theirs")}  # type: ignore[arg-type]
    return Row(**told, **figures)  # type: ignore[arg-type]


class Link:
    """Two namespaces: this process has the secondary's end, a process that sleeps holds the primary's."""

    def __init__(self, stack: ExitStack) -> None:
        self._far = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        stack.callback(self._far.wait)
        stack.callback(self._far.kill)
        own = os.readlink("/proc/self/ns/net")
        wait_until(lambda: os.readlink(f"/proc/{self._far.pid}/ns/net") != own, 10, "the other namespace")
        _run("ip", "link", "add", "near", "type", "veth", "peer", "name", "far", "netns", str(self._far.pid))
        _run("ip", "addr", "add", f"{CLIENT}/24", "dev", "near")
        _run("ip", "link", "set", "near", "up")
        for words in (f"addr add {SERVER}/24 dev far", "link set far up", "link set lo up"):
            _run(*self.inside("ip", *words.split()))

    def inside(self, *words: str) -> list[str]:
        """A command at the primary's end."""
        return ["nsenter", "--target", str(self._far.pid), "--net", "--", *words]

    def shape(self, mbit: int) -> None:
        """Answers travel so fast, and no faster."""
        tbf = ["tc", "qdisc", "replace", "dev", "far", "root", "tbf", "rate", f"{mbit}mbit"]
        _run(*self.inside(*tbf, "burst", "64kb", "latency", "100ms"))


def _run(*words: str) -> None:
    subprocess.run(words, check=True)


def serve(link: Link, processes: Processes, directory: Path, primary: Side) -> None:
    """The journal server and the relay before it, at the primary's end."""
    pidfile, relay_pid, targets = directory / "journal.pid", directory / "relay.pid", directory / "targets.json"
    targets.write_text(json.dumps({"journal": [SERVER, JOURNAL_PORT]}))
    server = ["nbdkit", "-f", "-r", "--pidfile", str(pidfile), "-i", SERVER, "-p", str(JOURNAL_PORT)]
    server += ["--filter=noparallel", "file", f"dir={primary.directory}", "serialize=requests"]
    relay = [sys.executable, "-m", "controller.relay", "--pidfile", str(relay_pid)]
    relay += ["--listen", f"{SERVER}:{RELAY_PORT}", "--targets", str(targets)]
    processes.start(link.inside(*server), "nbdkit")
    processes.start(link.inside(*relay), "relay")
    wait_until(lambda: pidfile.exists() and relay_pid.exists(), 20, "the servers to listen")


def transfer(primary: Side, secondary: Side, group: str, count: int, ratios: list[float] | None) -> Measure:
    """The copy program; `ratios`: through the relay, and how far it shrank the bytes is noted."""
    source = copy_source(primary, f"nbd://{SERVER}:{JOURNAL_PORT}/", group)
    relay = None if ratios is None else f"{SERVER}:{RELAY_PORT}"
    links = Links(**source.links.model_dump() | {"relay": relay})
    source = source.model_copy(update={"links": links})

    def measure(_: int) -> float:
        os.sync()
        secondary.pointers.publish(Pointer.ALREADY_READ, Position())
        space = JournalSpace(secondary.journal, secondary.pointers)
        pull = JournalPull(secondary.journal, secondary.pointers, space, {0: VOLUME_BYTES // BLOCK_BYTES})
        ways = Ways(lambda *event: None)
        pull.connect(RemoteJournal(source, way=ways.way(links, Lane.JOURNALS)))
        started = time.perf_counter()
        while pull.step().outcome is Outcome.MORE:
            pass
        seconds = time.perf_counter() - started
        assert pull.compressed is (ratios is not None)
        pull.close()
        assert pull.read.sequence == count, pull.read
        if ratios is not None:
            ratios.append(ways.nbd_bytes / ways.wire_bytes)
        return count * (WRITE_BYTES + RECORD_BYTES) / seconds / MIB

    return measure


def main(directory: Path, rounds: int) -> None:
    group = str(uuid.uuid4())
    with ExitStack() as stack:
        link = Link(stack)
        for number, (content, pages) in enumerate(CONTENTS.items()):
            place = directory / f"slow-{number}"
            place.mkdir(parents=True)
            with ExitStack() as inner:
                primary = Side.create(inner, place / "primary", group)
                secondary = Side.create(inner, place / "secondary", group)
                processes = inner.enter_context(Processes(place / "logs"))
                fill(primary, pages(), max(RATES_MBIT.values()))
                serve(link, processes, place, primary)
                for mbit, count in RATES_MBIT.items():
                    blocks = count * WRITE_BYTES // BLOCK_BYTES
                    primary.pointers.publish(Pointer.DURABLE, Position(count, blocks, time.time_ns()))
                    link.shape(mbit)
                    ratios: list[float] = []
                    make = partial(transfer, primary, secondary, group, count)
                    ours, theirs = alternate([make(ratios), make(None)], rounds)
                    packed = sorted(ratios)[len(ratios) // 2]
                    work = f"journal transfer, {mbit} Mbit/s, {content} (packed {packed:.1f} : 1)"
                    row = compare("17", work, "zstd", "plain", "MiB/s", ours, theirs, None)
                    print(json.dumps(row.as_json()), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
