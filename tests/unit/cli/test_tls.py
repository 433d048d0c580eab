"""`pairvol tls create` makes what daemons can use; `pairvol check` says how long, and what cannot be used."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from controller.tls import Certificates
from tests.unit.cli.conftest import Pairvol


def create(cli: Pairvol, directory: Path, *words: str) -> dict[str, str]:
    done = cli("tls", "create", str(directory), "--site", "tokyo", "--address", "192.0.2.1", "--json", *words)
    assert done.code == 0, done.err
    made: dict[str, str] = json.loads(done.out)
    return made


def checked(cli: Pairvol, configuration: Path) -> list[dict[str, str]]:
    report = json.loads(cli("check", "--config", str(configuration), "--json").out)
    return [each for each in report["checks"] if each["check"] == "certificates"]


def test_made_once_and_checked_until_they_expire(pairvol: Pairvol, tmp_path: Path) -> None:
    made = create(pairvol, tmp_path / "ca")
    Certificates(Path(made["directory"])).check()
    configuration = tmp_path / "agent.toml"
    configuration.write_text(f'site = "tokyo"\ntls.directory = "{made["directory"]}"\n')
    assert [each["level"] for each in checked(pairvol, configuration)] == ["OK"]
    create(pairvol, tmp_path / "ca", "--days", "29")
    found = checked(pairvol, configuration)
    assert [each["level"] for each in found] == ["WARNING", "WARNING"]
    assert "in 28 days" in found[0]["detail"]
    assert "pairvol tls create" in found[0]["mend"]
    (tmp_path / "ca" / "tokyo" / "server-key.pem").chmod(0o644)
    (found,) = [checked(pairvol, configuration)]
    assert [each["level"] for each in found] == ["FAILED"]
    assert "open to others" in found[0]["detail"]


@pytest.mark.parametrize(
    ("site", "address", "words"),
    [("to kyo", "192.0.2.1", "is not a site's name"), ("tokyo", "192.0.2.1:7811", "is not a host")],
)
def test_what_cannot_be_certified_is_refused(
    pairvol: Pairvol, tmp_path: Path, site: str, address: str, words: str
) -> None:
    done = pairvol("tls", "create", str(tmp_path / "ca"), "--site", site, "--address", address)
    assert done.code == 2
    assert words in done.err
    assert "HINT: " in done.err
    assert not (tmp_path / "ca" / site).exists()
