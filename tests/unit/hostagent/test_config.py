"""Configuration: samples that are taken, and samples that are refused with the key and a hint."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.errors import NotFoundError, UsageError
from hostagent.config import load

GOOD = """
site = "tokyo"
state_directory = "/s"
listen = "127.0.0.1:7802"
controller = "unix:/r/controller.sock"
[peers.osaka]
agent = "http://127.0.0.1:7902"
[copy]
beat_seconds = 0.5
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "agent.toml"
    path.write_text(text)
    return path


def test_good(tmp_path: Path) -> None:
    config = load(write(tmp_path, GOOD))
    assert config.site == "tokyo"
    assert config.copying.beat_seconds == 0.5
    assert config.copying.lease_seconds == 10.0
    assert config.peers["osaka"].agent == "http://127.0.0.1:7902"
    assert [str(listener) for listener in config.listeners] == ["127.0.0.1:7802"]
    assert config.mount_directory == Path("/s/run")


def test_several_listeners(tmp_path: Path) -> None:
    text = GOOD.replace('listen = "127.0.0.1:7802"', 'listen = ["unix:/r/a.sock", "[::1]:7802"]')
    assert [str(each) for each in load(write(tmp_path, text)).listeners] == ["unix:/r/a.sock", "[::1]:7802"]


def test_with_certificates_addresses_of_the_network_are_taken(tmp_path: Path) -> None:
    text = GOOD.replace('"127.0.0.1:7802"', '"https://0.0.0.0:7802"')
    text = text.replace("http://127.0.0.1:7902", "https://10.0.0.2:7902") + '[tls]\ndirectory = "/etc/pairvol/tls"\n'
    config = load(write(tmp_path, text))
    assert config.own_address == "https://127.0.0.1:7802"
    assert config.certificates is not None
    with pytest.raises(UsageError, match=r"tls.directory: .*not an absolute path"):
        load(write(tmp_path, text.replace("/etc/pairvol", "etc")))


@pytest.mark.parametrize(
    ("old", "new", "said", "hint"),
    [
        ("127.0.0.1:7802", "0.0.0.0:7802", "listen: 0.0.0.0 is not a loopback address", "pairvol tls create"),
        ("127.0.0.1:7802", "192.168.1.1:7802", "listen: 192.168.1.1 is not a loopback address", "pairvol tls create"),
        (
            "127.0.0.1:7902",
            "10.0.0.2:7902",
            "peers.osaka.agent: 10.0.0.2 is not a loopback address",
            "pairvol tls create",
        ),
        ("127.0.0.1:7802", "7802", "listen: '7802' is not an address", "127.0.0.1"),
        ("unix:/r/controller.sock", "http://example.org:1", "controller: example.org is not", "pairvol tls create"),
        ('"127.0.0.1:7802"', '"https://0.0.0.0:7802"', "https://0.0.0.0:7802 needs certificates", "[tls]"),
        ("http://127.0.0.1:7902", "https://10.0.0.2:7902", "https://10.0.0.2:7902 needs certificates", "[tls]"),
        ('site = "tokyo"', 'site = "to kyo"', "site: ", ""),
        ('site = "tokyo"', "", "site is missing", "site = "),
        ("beat_seconds = 0.5", "beat_seconds = 0", "copy.beat_seconds: ", ""),
        ("beat_seconds = 0.5", "beet_seconds = 1", "copy.beet_seconds: no such key", ""),
        ('"/s"', '"s"', "state_directory: s is not an absolute path", ""),
        ("peers.osaka", "peers.tokyo", "peers.tokyo is this site itself", "other sites"),
        ("[copy]", "[copy", "is not TOML", ""),
    ],
)
def test_refused(tmp_path: Path, old: str, new: str, said: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(write(tmp_path, GOOD.replace(old, new)))
    assert said in caught.value.message
    assert hint in caught.value.hint


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        load(tmp_path / "none.toml")
