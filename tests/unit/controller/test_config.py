"""Every mistake in a configuration file is one line that names file and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller import config
from controller.errors import NotFoundError, UsageError

VALID = [
    'site = "tokyo"\ndata_address = "192.0.2.7"\nlisten = "https://192.0.2.7:7801"\n[tls]\ndirectory = "/t"',
    'site = "tokyo"\ndata_address = "::"\nadvertised_address = "tokyo.example"\n[tls]\ndirectory = "/t"',
    'site = "tokyo"',
    'site = "tokyo"\nlisten = "127.0.0.1:7801"\n[journal]\nsize_bytes_max = "2G"',
]

INVALID = [
    ("", "site is missing"),
    ("site = 3", "site: input should be a valid string"),
    ('site = "to kyo"', "site: string should match pattern"),
    ('site = "tokyo"\nlistne = "x"', "listne: no such key"),
    ('site = "tokyo"\nlisten = "0.0.0.0:1"', "listen: 0.0.0.0 is not a loopback address"),
    ('site = "tokyo"\ndata_address = "192.0.2.7"', "data_address: 192.0.2.7 is not a loopback address"),
    ('site = "tokyo"\nlisten = "https://0.0.0.0:1"', "https://0.0.0.0:1 needs certificates"),
    ('site = "tokyo"\ndata_address = "0.0.0.0"\n[tls]\ndirectory = "/t"', "data_address 0.0.0.0 does not say where"),
    ('site = "tokyo"\ndata_address = "2001:db8::1"\n[tls]\ndirectory = "/t"', "cannot be asked for an IPv6 address"),
    ('site = "tokyo"\nstate_directory = "var"', "state_directory: var is not an absolute path"),
    (f'site = "tokyo"\nrun_directory = "/{"r" * 90}"', "run_directory: 91 bytes are too long"),
    ('site = "tokyo"\n[servers]\nthreads = 0', "servers.threads: input should be greater"),
    ('site = "tokyo', "is not TOML"),
]


def load(tmp_path: Path, text: str) -> config.Config:
    path = tmp_path / "controller.toml"
    path.write_text(text)
    return config.load(path)


@pytest.mark.parametrize("text", VALID)
def test_valid(tmp_path: Path, text: str) -> None:
    assert load(tmp_path, text).site == "tokyo"


@pytest.mark.parametrize(("text", "words"), INVALID)
def test_invalid(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(tmp_path, text)
    assert words in caught.value.message
    assert str(tmp_path / "controller.toml") in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.hint


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"none\.toml does not exist"):
        config.load(tmp_path / "none.toml")


def test_the_default_listener_is_a_socket_in_the_run_directory(tmp_path: Path) -> None:
    loaded = load(tmp_path, 'site = "tokyo"\nrun_directory = "/run/pv"')
    assert str(loaded.listener) == "unix:/run/pv/controller.sock"


@pytest.mark.parametrize(("volumes_bytes", "expected"), [(1 << 20, 64 << 20), (1 << 30, 103 << 20), (1 << 40, 8 << 30)])
def test_the_default_journal_is_a_tenth_within_bounds(tmp_path: Path, volumes_bytes: int, expected: int) -> None:
    assert load(tmp_path, 'site = "tokyo"').journal.default_bytes(volumes_bytes) == expected
