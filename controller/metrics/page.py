"""A scrape: families of one daemon in the form that the scraper asks for.

Owns the page and the metrics of the daemon's own process. Knows no metric of
pairvol. There is no global registry: what is exposed is read when it is asked
for, and nothing is kept between two scrapes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import psutil
from fastapi import Response
from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

NANOSECONDS: Final = 1_000_000_000

Source = TypeVar("Source")


@dataclass(frozen=True)
class Figure(Generic[Source]):
    """One metric that is read from one thing; None means that it has none now, and no sample is given."""

    name: str  # with its unit; `_total` for what only grows
    help: str
    value: Callable[[Source], float | None]

    def family(self, labels: tuple[str, ...]) -> GaugeMetricFamily | CounterMetricFamily:
        if self.name.endswith("_total"):
            return CounterMetricFamily(self.name, self.help, labels=labels)
        return GaugeMetricFamily(self.name, self.help, labels=labels)


def families(
    figures: Iterable[Figure[Source]], labels: tuple[str, ...], sources: Iterable[tuple[tuple[str, ...], Source]]
) -> Iterator[Metric]:
    """A family for each figure, with a sample for each source that has it."""
    known = list(sources)
    for figure in figures:
        family = figure.family(labels)
        for values, source in known:
            value = figure.value(source)
            if value is not None:
                family.add_metric(values, float(value))
        yield family


def build_info(program: str, site: str, version: str) -> Metric:
    """Which program of which version and site answers: a constant 1."""
    return InfoMetricFamily(
        "pairvol_build",
        "The program that answers, its site and version.",
        value={"program": program, "site": site, "version": version},
    )


def seconds_of(time_ns: int | None) -> float | None:
    """A moment as Prometheus takes it; None for one that never came."""
    return time_ns / NANOSECONDS if time_ns else None


def page(collector: Collector, accept: str) -> Response:
    """The answer to a scrape."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    ProcessCollector(registry=registry)
    encode, content_type = choose_encoder(accept)
    return Response(encode(registry), media_type=content_type)


@dataclass(frozen=True)
class ProcessFigures:
    """What one process uses."""

    resident_bytes: int
    cpu_seconds: float
    threads: int
    since: float


def process_figures(pid: int | None) -> ProcessFigures | None:
    """None for a process that is not there."""
    if pid is None:
        return None
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            times = process.cpu_times()
            return ProcessFigures(
                process.memory_info().rss, times.user + times.system, process.num_threads(), process.create_time()
            )
    except psutil.Error:
        return None
