"""Other people's clients read back what they wrote, with and without a journal."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.support.volume_server import GroupFiles


def run(*words: str | Path, timeout: float = 60) -> str:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(params=["paired", "unpaired"])
def files(request: pytest.FixtureRequest) -> GroupFiles:
    files: GroupFiles = request.getfixturevalue(request.param)
    return files


@pytest.mark.parametrize("source", ["sparse-random", "random"])
def test_nbdcopy_there_and_back(files: GroupFiles, source: str) -> None:
    # Both plugins compare what is written to them with what they gave out.
    target = shlex.quote(files.uri("data"))
    script = f'nbdcopy "$uri" {target} && nbdcopy {target} "$uri"'
    run("nbdkit", "-U", "-", source, "size=64M", "seed=7", "--run", script)


def test_nbdcopy_with_flush_and_many_connections(files: GroupFiles, tmp_path: Path) -> None:
    image = tmp_path / "image"
    run("nbdkit", "-U", "-", "sparse-random", "size=64M", "seed=3", "--run", f'nbdcopy "$uri" {image}')
    run("nbdcopy", "--flush", "--connections=4", "--requests=16", image, files.uri("data"))
    files.command("checkpoint")
    assert files.volume("data").read_bytes() == image.read_bytes()


def test_qemu_io_patterns(files: GroupFiles) -> None:
    # qemu-io compares: `read -P` fails when the pattern is not there.
    commands = [
        "write -P 0x11 0 64k",
        "write -P 0x22 512 512",  # less than a page
        "write -P 0x33 65024 1024",  # over a page's end
        "write -f -P 0x44 1M 4k",  # FUA
        "write -z 2M 1M",
        "write -P 0x55 2M 512",
        "discard 3M 1M",
        "flush",
        "read -P 0x11 0 512",
        "read -P 0x22 512 512",
        "read -P 0x11 1024 64000",
        "read -P 0x33 65024 1024",
        "read -P 0x44 1M 4k",
        "read -P 0x55 2M 512",
        "read -P 0 2097664 1048064",
        "read -P 0 3M 1M",
    ]
    words = [word for command in commands for word in ("-c", command)]
    for again in ("from the journal", "from the store"):
        output = run("qemu-io", "-f", "raw", *words, files.uri("data"))
        assert "Pattern verification failed" not in output, again
        assert output.count("ops; ") >= len(commands) - 2
        files.command("checkpoint")


def test_holes_stay_holes(files: GroupFiles) -> None:
    run("qemu-io", "-f", "raw", "-c", "write 0 1M", "-c", "write 8M 4k", "-c", "discard 0 512k", files.uri("data"))
    extents = json.loads(run("nbdinfo", "--map", "--json", files.uri("data")))
    data = [(extent["offset"], extent["length"]) for extent in extents if extent["type"] == 0]
    assert data == [(512 << 10, 512 << 10), (8 << 20, 4096)]
    assert files.volume("data").stat().st_blocks * 512 < 2 << 20
