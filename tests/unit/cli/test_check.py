"""`pairvol check` and what it guards: each thing that is missing is named once, with what to type."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

import httpx
import pytest

from hostagent import transport
from hostagent.cli import probes
from hostagent.cli.main import with_system_programs
from hostagent.cli.probes import Finding, Level
from tests.unit.cli.conftest import Pairvol
from tests.unit.cli.fake_agent import FakeAgent, info


def by_subject(pairvol: Pairvol) -> dict[str, tuple[str, str, str]]:
    checks = pairvol("check", "--json").json["checks"]
    return {each["check"]: (each["level"], each["detail"], each["mend"]) for each in checks}


def test_a_controller_of_another_site_fails(agent: FakeAgent, pairvol: Pairvol) -> None:
    agent.info = info(controller_ok=False, controller_failure="site kyoto answers there, not tokyo")
    level, detail, mend = by_subject(pairvol)["controller"]
    assert (level, "site kyoto answers" in detail, "site" in mend) == (Level.FAILED, True, True)


def test_who_is_not_root_asks_an_agent_without_a_warning(
    agent: FakeAgent, pairvol: Pairvol, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "access", lambda *_: False)
    found = by_subject(pairvol)
    assert found["rights"][0] == Level.OK
    assert probes.rights().level is Level.WARNING
    assert all(found[node][0] == Level.OK for node in ("/dev/fuse", "/dev/loop-control") if Path(node).exists())


@pytest.mark.parametrize(
    ("levels", "code", "first"),
    [
        ((Level.OK, Level.OK), 0, "OK    2 checks passed"),
        ((Level.OK, Level.WARNING), 1, "WARN  1 warning in 2 checks: part 1: so; mend: do 1"),
        (
            (Level.WARNING, Level.OK, Level.FAILED, Level.FAILED),
            2,
            "CRIT  2 failed and 1 warning in 4 checks: part 2: so; mend: do 2",
        ),
    ],
)
def test_the_first_line_is_the_verdict(
    agent: FakeAgent,
    pairvol: Pairvol,
    monkeypatch: pytest.MonkeyPatch,
    levels: tuple[Level, ...],
    code: int,
    first: str,
) -> None:
    found = [Finding(f"part {number}", level, "so", f"do {number}") for number, level in enumerate(levels)]
    monkeypatch.setattr(probes, "findings", lambda session: iter(found))
    shown = pairvol("check")
    assert (shown.code, shown.lines[0]) == (code, first)
    assert [line.split()[0] for line in shown.lines[1:] if "mend:" not in line] == list(levels)
    told = pairvol("check", "--json").json
    assert (told["verdict"], told["line"]) == (max(levels, key=list(Level).index), first[6:])
    assert len(told["checks"]) == len(levels)


def test_an_nbdkit_that_does_not_answer_is_a_finding(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "nbdkit"
    program.write_text("#!/bin/sh\nexec tail -f /dev/null\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(probes, "PLUGIN_SECONDS", 0.2, raising=False)
    monkeypatch.setattr(probes, "PLUGINS", {"python": "nbdkit-plugin-python"})
    finding = next(each for each in probes.programs() if each.subject == "nbdkit python plugin")
    assert (finding.level, finding.detail) == (Level.FAILED, "nbdkit does not answer within 0.2 s")
    assert finding.mend == 'see why: "nbdkit --dump-plugin python"'
    program.write_text("not a program")
    finding = next(each for each in probes.programs() if each.subject == "nbdkit python plugin")
    assert (finding.level, finding.detail) == (Level.FAILED, "nbdkit cannot be run: exec format error")


def test_block_devices_name_all_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "nbdfuse" else f"/usr/bin/{name}")
    monkeypatch.setattr(Path, "exists", lambda path: False)
    monkeypatch.setattr(os, "access", lambda *_: False)
    last = list(probes.devices())[-1]
    assert (last.subject, last.level) == ("block devices", Level.FAILED)
    for missing, mend in (("nbdfuse", "apt-get install libnbd-bin"), ("/dev/fuse", "modprobe fuse")):
        assert missing in last.detail
        assert mend in last.mend


def test_a_controller_without_libnbd_says_so_in_one_line(pairvol: Pairvol, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    refused = pairvol("controller", "run", "--config", "/nowhere.toml")
    assert (refused.code, refused.err.splitlines()[0]) == (2, "pairvol: libnbd for Python is not installed")
    assert "python3-libnbd" in refused.err


@pytest.mark.parametrize(("words", "way"), [("[Errno 13] Permission denied", "Be root"), ("refused", "Start")])
def test_a_socket_of_another_user_is_no_agent_to_be_started(words: str, way: str) -> None:
    assert transport._way_in(httpx.ConnectError(words), "the host agent").startswith(way)


@pytest.mark.parametrize("path", ["/usr/local/bin:/usr/bin:/bin", "/sbin:/usr/sbin:/bin"])
def test_system_programs_are_found_after_a_plain_su(path: str) -> None:
    folders = with_system_programs(path).split(":")
    assert folders[: len(path.split(":"))] == path.split(":")
    assert folders.count("/usr/sbin") == folders.count("/sbin") == 1
