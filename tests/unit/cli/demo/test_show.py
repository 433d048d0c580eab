"""What a person sees of the demonstration, on 80 columns; and where it refuses to begin."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from rich.console import Console

from hostagent.cli.demo import run as demonstration
from hostagent.cli.demo.reporter import Progress
from hostagent.cli.demo.show import MEANING, Screen, verdict_text
from hostagent.cli.demo.verdict import Outcome
from hostagent.cli.probes import Finding, Level
from tests.unit.cli.conftest import Pairvol

FIGURES = {
    "files": 8000,
    "bytes": 213_468_857,
    "lag_seconds_mean": 0.1,
    "lag_seconds_p99": None,
    "takeover_seconds": 0.312,
    "serving_seconds": 1.5,
    "journals_restored": 3120,
    "records_acknowledged": 683,
    "records_recovered": 680,
    "records_in_tail": 3,
    "tail_journals": 12,
    "tail_bytes": 49_152,
    "tail_seconds": 0.016,
    "lost": 0,
    "order_violations": 0,
}


def screen(terminal: bool) -> tuple[Screen, io.StringIO]:
    out = io.StringIO()
    return Screen(Console(file=out, width=80, force_terminal=terminal, highlight=False, soft_wrap=True)), out


def test_without_a_terminal_a_step_is_one_plain_line() -> None:
    shown, out = screen(terminal=False)
    with shown.step("two sites start") as step:
        shown.progress(Progress(1 << 20, 2 << 20, 41.0, 0.2, 4096))
        step.detail = "four daemons"
    (line,) = out.getvalue().splitlines()
    assert line.startswith(" \N{CHECK MARK} two sites start")
    assert line.endswith("four daemons")
    assert "\x1b" not in line


def test_on_a_terminal_progress_has_bar_copy_and_lag() -> None:
    shown, out = screen(terminal=True)
    with shown.step("the tree"):
        shown.progress(Progress(1 << 20, 2 << 20, 41.0, 0.2, 4096))
    for part in ("1 MiB of 2 MiB", "copy 41 %", "lag 0.2 s (4 KiB)"):
        assert part in out.getvalue()


def fail(shown: Screen) -> None:
    with shown.step("takeover"):
        raise RuntimeError


def test_a_step_that_fails_is_marked() -> None:
    shown, out = screen(terminal=False)
    with pytest.raises(RuntimeError):
        fail(shown)
    assert out.getvalue() == " \N{BALLOT X} takeover\n"


def test_verdict_fits_and_names_what_failed() -> None:
    checks = dict.fromkeys(MEANING, True)
    lines = verdict_text(Outcome(checks, FIGURES), "tokyo", "osaka").plain.splitlines()
    assert lines[1].startswith("OK    nothing lost")
    assert max(map(len, lines)) <= 80
    checks["nothing_lost"] = False
    failed = verdict_text(Outcome(checks, FIGURES), "tokyo", "osaka").plain
    assert "CRIT  " in failed
    assert f" \N{BALLOT X} {MEANING['nothing_lost']}" in failed


def test_not_root_is_refused_before_anything_starts(pairvol: Pairvol, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    refused = pairvol("demo", "--json")
    assert refused.code == 2
    assert "needs root" in refused.err
    assert "HINT: " in refused.err
    assert refused.out == ""


def test_what_is_missing_is_named_with_its_mend(
    pairvol: Pairvol, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    missing = Finding("nbdkit python plugin", Level.FAILED, "not there", "apt-get install nbdkit-plugin-python")
    monkeypatch.setattr(demonstration, "programs", lambda: iter([missing]))
    monkeypatch.setattr(demonstration, "devices", lambda: iter([]))
    refused = pairvol("demo", "--dir", str(tmp_path / "d"))
    assert (refused.code, refused.out) == (2, "")
    assert "nbdkit python plugin not there" in refused.err
    assert "HINT: apt-get install nbdkit-plugin-python." in refused.err
    assert not (tmp_path / "d").exists()


def test_a_small_volume_is_refused(pairvol: Pairvol, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert "too small" in pairvol("demo", "--size", "64M").err


def test_nothing_to_stop(pairvol: Pairvol, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("hostagent.cli.demo.workspace.PARENT", tmp_path)
    assert pairvol("demo", "--stop").out == "no demonstration is left running\n"
    assert pairvol("demo", "--stop", "--json").json == {"ended": []}
    assert pairvol("demo", "--stop", "--dir", str(tmp_path)).code == 10
