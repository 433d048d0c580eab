"""Rows 9 and 15: how far the second site is behind, for one group under load and for many."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from controller.journal.pointers import Pointer
from tests.bench import fio
from tests.bench.peers import MIB
from tests.bench.rows import Figure, Row, compare, compare_cost, explained, within
from tests.bench.sites import SAMPLE_SECONDS, Bench, bench_sites, percentile
from tests.bench.usage import watch
from tests.support.waiting import wait_until

ROWS = ("9", "15")
STEADY = fio.Work("5,000 4k random writes a second", "randwrite", 4096, 8, rate_iops=5000)
SETTLE_SECONDS = 1.0  # from the first write on, not measured
LAG_MS = ((0.50, 20.0), (0.99, 60.0))
VOLUME_BYTES = 32 * MIB
JOURNAL_BYTES = 64 * MIB
LAYOUTS = (("groups", (1, 4, 16)), ("volumes of one group", (1, 16, 64)))
SCALING_DEPTH = 16  # of all writers together
SCALING_RATE = 3000  # writes a second of all together, where lags are compared
LAG_GROWTH = 2.0


def measure_rows(wanted: set[str], directory: Path, second: Path | None, rounds: int, seconds: float) -> Iterator[Row]:
    if "9" in wanted:
        with bench_sites(directory, second) as bench:
            yield from steady(bench, rounds, seconds)
    if "15" in wanted:
        for kind, counts in LAYOUTS:
            yield from scaling(directory, second, kind, counts, seconds)


def steady(bench: Bench, rounds: int, seconds: float) -> Iterator[Row]:
    """The age of the newest restored journal while a host writes at a steady rate."""
    bench.pair("steady", ["steady"], 256 * MIB, 256 * MIB)
    samples = [lags_under(bench, ["steady"], ["steady"], STEADY, seconds) for _ in range(rounds)]
    rows = [
        within(
            "9",
            f"lag under {STEADY.text}, p{share * 100:.0f}",
            "restored",
            "ms",
            [percentile(each, share) for each in samples],
            limit,
        )
        for share, limit in LAG_MS
    ]
    ages = {} if all(row.met for row in rows) else stages(bench, "steady", seconds)
    yield from (explained(row, ages) for row in rows)


def stages(bench: Bench, group: str, seconds: float) -> dict[str, float]:
    """How old, in ms, the newest journal is that has come so far: half of the time less than this."""
    places = {
        "ms when durable": (bench.sites.primary, Pointer.DURABLE),
        "ms when durable at the second site": (bench.sites.secondary, Pointer.ALREADY_READ),
        "ms when restored": (bench.sites.secondary, Pointer.ALREADY_RESTORED),
    }
    ages: dict[str, list[float]] = {name: [] for name in places}
    writers = Writers([bench.uri(group)], STEADY, seconds + SETTLE_SECONDS)
    time.sleep(SETTLE_SECONDS)
    until = time.monotonic() + seconds * 0.8
    while time.monotonic() < until:
        for name, (site, pointer) in places.items():
            ages[name].append((time.time_ns() - bench.position(site, group, pointer).time_ns) / 1e6)
        time.sleep(SAMPLE_SECONDS)
    writers.finish()
    return {name: round(percentile(values, 0.5), 1) for name, values in ages.items()}


def lags_under(
    bench: Bench, groups: Sequence[str], volumes: Sequence[str], work: fio.Work, seconds: float
) -> list[float]:
    """Lags in ms while every volume is written to."""
    before = [bench.position(bench.sites.primary, group, Pointer.DURABLE) for group in groups]
    writers = Writers([bench.uri(volume) for volume in volumes], work, seconds + SETTLE_SECONDS)

    def begun() -> bool:
        return writers.ended or all(
            bench.position(bench.sites.primary, group, Pointer.DURABLE) > position
            for group, position in zip(groups, before, strict=True)
        )

    wait_until(begun, 60, "every group to be written to", interval=0.005)
    time.sleep(SETTLE_SECONDS)
    found = bench.lags(groups, time.monotonic() + seconds * 0.8)
    writers.finish()
    return found


def scaling(directory: Path, second: Path | None, kind: str, counts: Sequence[int], seconds: float) -> Iterator[Row]:
    """The same load on more and more groups, or volumes: all together must not fall, nor lag grow beyond twice."""
    rates, lags, shares = [], [], []
    for count in counts:
        with bench_sites(directory, second) as bench:
            volumes = [f"v{number}" for number in range(count)]
            groups = [f"g{number}" for number in range(count)] if kind == "groups" else ["g"]
            if kind == "groups":
                for group, volume in zip(groups, volumes, strict=True):
                    bench.pair(group, [volume], VOLUME_BYTES, JOURNAL_BYTES)
            else:
                bench.pair("g", volumes, VOLUME_BYTES // 4, 4 * JOURNAL_BYTES)
            depth = max(1, SCALING_DEPTH // count)
            work = fio.Work("4k random write", "randwrite", 4096, depth, flush_every=32)
            busy = watch(bench.sites)
            rates.append(fio.run_together(work, [bench.uri(volume) for volume in volumes], seconds, seed=1))
            shares.append([busy()])
            for group in groups:
                bench.quiet(group)
            paced = fio.Work("paced", "randwrite", 4096, depth, rate_iops=max(1, SCALING_RATE // count))
            busy = watch(bench.sites)
            lags.append(percentile(lags_under(bench, groups, volumes, paced, seconds), 0.99))
            shares[-1].append(busy())
    for count, rate, lag, (of_rate, of_lag) in zip(counts[1:], rates[1:], lags[1:], shares[1:], strict=True):
        text, one = f"{count} {kind} against 1", f"1 of {kind}"
        written = compare("15", f"{text}, all writes", "paired", one, "IO/s", _one(rate), _one(rates[0]), 1.0)
        behind = compare_cost("15", f"{text}, lag p99", "paired", one, "ms", _one(lag), _one(lags[0]), LAG_GROWTH)
        yield explained(written, of_rate)
        yield explained(behind, of_lag)


def _one(value: float) -> Figure:
    return Figure.of([value])


class Writers:
    """A client for each address, all at once, beside whoever made this."""

    def __init__(self, uris: Sequence[str], work: fio.Work, seconds: float) -> None:
        self._rates: list[float] = []
        self._failures: list[Exception] = []
        self._thread = threading.Thread(target=self._write, args=(uris, work, seconds))
        self._thread.start()

    @property
    def ended(self) -> bool:
        return not self._thread.is_alive()

    def _write(self, uris: Sequence[str], work: fio.Work, seconds: float) -> None:
        try:
            self._rates.append(fio.run_together(work, uris, seconds, seed=1))
        except (RuntimeError, OSError) as error:
            self._failures.append(error)

    def finish(self) -> float:
        """Operations a second of all together."""
        self._thread.join()
        if self._failures:
            raise self._failures[0]
        return self._rates[0]
