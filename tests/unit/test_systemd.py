"""What systemd/ ships: units that systemd accepts, configuration that the daemons read and that shows the defaults."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from pydantic import BaseModel

import controller.config
import hostagent.config
from tests.support.processes import PROJECT

SHIPPED = PROJECT / "systemd"
UNITS = ("pairvol-controller.service", "pairvol-agent.service")


def required(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed")
    return found


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    analyze = required("systemd-analyze")
    for name in UNITS:
        text = (SHIPPED / name).read_text().replace("/usr/bin/pairvol", "/bin/true")
        (tmp_path / name).write_text(text)
    words = [analyze, "verify", "--man=no", "--recursive-errors=no", *(str(tmp_path / name) for name in UNITS)]
    answer = subprocess.run(words, capture_output=True, text=True, check=False)
    complaints = [line for line in answer.stderr.splitlines() if "pairvol" in line]
    assert (answer.returncode, complaints) == (0, [])


@pytest.mark.parametrize("name", UNITS)
def test_servers_and_attachments_survive_a_restart(name: str) -> None:
    assert "KillMode=process" in (SHIPPED / name).read_text().splitlines()


def test_the_agent_makes_block_devices_in_the_namespace_of_the_host() -> None:
    lines = (SHIPPED / "pairvol-agent.service").read_text().splitlines()
    assert not [line for line in lines if line.startswith(("Private", "Protect", "ReadOnly", "Temporary", "User="))]


def test_the_user_is_understood(tmp_path: Path) -> None:
    sysusers = required("systemd-sysusers")
    (tmp_path / "etc").mkdir()
    subprocess.run([sysusers, f"--root={tmp_path}", SHIPPED / "pairvol.sysusers"], check=True, capture_output=True)
    users = (tmp_path / "etc/passwd").read_text()
    assert [line for line in users.splitlines() if line.startswith("pairvol:")]


@pytest.mark.skipif(os.geteuid() != 0, reason="not root: the folders get owners")
def test_the_run_directories_are_understood(tmp_path: Path) -> None:
    tmpfiles, sysusers = required("systemd-tmpfiles"), required("systemd-sysusers")
    (tmp_path / "etc").mkdir()
    root = f"--root={tmp_path}"
    subprocess.run([sysusers, root, SHIPPED / "pairvol.sysusers"], check=True, capture_output=True)
    subprocess.run([tmpfiles, root, "--create", SHIPPED / "pairvol.tmpfiles"], check=True, capture_output=True)
    assert (tmp_path / "run/pairvol").stat().st_uid != 0
    assert (tmp_path / "run/pairvol-agent").is_dir()


def left_out(settings: BaseModel) -> list[str]:
    """Keys that a configuration file does not show, those of its tables too."""
    fields = type(settings).model_fields
    missing = sorted(set(fields) - settings.model_fields_set)
    for name in fields:
        value = getattr(settings, name)
        if isinstance(value, BaseModel) and name not in missing:
            missing += [f"{name}.{key}" for key in left_out(value)]
    return missing


def with_certificates(name: str, folder: Path) -> Path:
    """A shipped configuration with the line for certificates, which it shows as a comment, in force."""
    text = (SHIPPED / name).read_text()
    assert "\n# tls.directory = " in text
    (folder / name).write_text(text.replace("# tls.directory", "tls.directory"))
    return folder / name


def test_the_configuration_of_the_controller_shows_the_defaults(tmp_path: Path) -> None:
    shown = controller.config.load(SHIPPED / "controller.toml")
    assert left_out(controller.config.load(with_certificates("controller.toml", tmp_path))) == []
    default = controller.config.Config(site=shown.site)
    assert shown.listener == default.listener
    assert shown.model_copy(update={"listen": default.listen}) == default


def test_the_configuration_of_the_agent_shows_the_defaults(tmp_path: Path) -> None:
    shown = hostagent.config.load(SHIPPED / "agent.toml")
    assert left_out(hostagent.config.load(with_certificates("agent.toml", tmp_path))) == []
    default = hostagent.config.Config(site=shown.site)
    assert shown.copying == default.copying
    assert shown.controller == default.controller == str(controller.config.Config(site="tokyo").listener)
    assert set(map(str, default.listeners)) <= set(map(str, shown.listeners))
    assert set(shown.peers) == {"osaka"}
