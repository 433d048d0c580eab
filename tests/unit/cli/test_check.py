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
from hostagent.cli.probes import Level
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
