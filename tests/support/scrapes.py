"""Scrapes as a monitoring system reads them, and the metrics that alerts and the dashboard name."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.support.processes import PROJECT

MONITORING: Final = PROJECT / "systemd" / "monitoring"
ADDED_BY_PROMETHEUS: Final = frozenset({"instance", "job"})
_BASE_UNITS: Final = ("seconds", "bytes", "ratio", "records")
_OTHER_UNITS: Final = ("ms", "milliseconds", "minutes", "hours", "percent", "kib", "mib", "blocks", "ns", "count")
_USE: Final = re.compile(r"(pairvol_[a-z0-9_]+)(?:\{([^}]*)\})?")
_GROUPING: Final = re.compile(r"by \(([^)]*)\)")


@dataclass(frozen=True)
class Use:
    """One metric in one expression."""

    where: str
    metric: str
    labels: frozenset[str]  # that its selector names


class Scrape:
    """The families of one page by the names that expressions use."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.families: dict[str, Metric] = {}
        for family in text_string_to_metric_families(text):
            self.families[f"{family.name}_total" if family.type == "counter" else family.name] = family

    @classmethod
    def of(cls, url: str) -> Scrape:
        return cls(httpx.get(url, timeout=10.0, trust_env=False, verify=False).raise_for_status().text)

    def value(self, name: str, **labels: str) -> float | None:
        """The one sample with these labels; None when there is none."""
        found = [s.value for s in self.families[name].samples if labels.items() <= s.labels.items()]
        assert len(found) < 2, f"{name} {labels} is not one sample"
        return found[0] if found else None

    def complaints(self) -> list[str]:
        """Breaches of the conventions for names, types and help in what is pairvol's own."""
        return [
            f"{name}: {words}"
            for name, family in self.families.items()
            if name.startswith("pairvol_")
            for words in _complaints(name, family)
        ]


def _complaints(name: str, family: Metric) -> Iterator[str]:
    if not re.fullmatch(r"pairvol(_[a-z]+)+", name):
        yield "not in small letters"
    if not family.documentation.endswith(".") or not family.documentation[:1].isalnum():
        yield f"its help is no sentence: {family.documentation!r}"
    if (family.type == "counter") is not name.endswith("_total"):
        yield f"a {family.type} with that ending"
    if family.type not in ("counter", "gauge"):
        yield f"a {family.type}"
    words = name.removesuffix("_total").split("_")
    if set(words) & set(_OTHER_UNITS):
        yield "not in a base unit"
    if set(words) & {"seconds", "bytes"} and words[-1] not in (*_BASE_UNITS, "second"):
        yield "its unit is not the last word"


def lint(text: str) -> list[str]:
    """What promtool says of a page; nothing where it is not installed."""
    promtool = shutil.which("promtool")
    if promtool is None:
        return []
    answer = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    return [line for line in answer.stderr.splitlines() if line.startswith("pairvol")]


def expressions() -> Iterator[tuple[str, str]]:
    """(where, expression) of every alert, and of every panel and variable of the dashboard."""
    name = ""
    for line in (MONITORING / "alerts.yml").read_text().splitlines():
        if found := re.match(r"\s+- alert: (\w+)", line):
            name = found[1]
        elif found := re.match(r"\s+expr: (.+)", line):
            yield name, found[1]
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["query"]["query"]


def uses() -> list[Use]:
    """Every metric of ours in them, with the labels that are asked of it."""
    found = []
    for where, expression in expressions():
        grouped = {label.strip() for labels in _GROUPING.findall(expression) for label in labels.split(",")}
        for metric, selector in _USE.findall(expression):
            if f'job="{metric}' in expression:
                continue
            named = set(re.findall(r"(\w+)\s*[=!]", selector))
            found.append(Use(where, metric, frozenset(named | grouped) - ADDED_BY_PROMETHEUS))
    return found


def words() -> Iterator[tuple[str, str, set[str]]]:
    """(alert, its expression, labels that its words use)."""
    text = (MONITORING / "alerts.yml").read_text()
    for block in text.split("- alert: ")[1:]:
        expression = re.search(r"expr: (.+)", block)
        assert expression is not None, block
        yield block.split("\n", 1)[0], expression[1], set(re.findall(r"\$labels\.(\w+)", block))


def labels_of_result(expression: str, labels: dict[str, set[str]]) -> set[str]:
    """The labels that an alert has: those grouped by, else those of its metric."""
    if grouped := _GROUPING.findall(expression):
        return {label.strip() for label in grouped[0].split(",")}
    metrics = [metric for metric, _ in _USE.findall(expression) if metric in labels]
    own: set[str] = labels[metrics[0]] if metrics else set()
    return own | ADDED_BY_PROMETHEUS


def path_of(name: str) -> Path:
    return MONITORING / name


def dashboard() -> Any:
    return json.loads(path_of("dashboard.json").read_text())
