"""A group of two volumes that held something before, open in this process."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.volume.write_path import WritePath
from tests.support.volume_server import GroupFiles
from tests.unit.inband.parts import MIB, SIZES


@pytest.fixture
def files(tmp_path: Path) -> GroupFiles:
    """Volumes with old content in them, before the group is made: half random, half holes."""
    made = GroupFiles(tmp_path, SIZES, 64 * MIB).create()
    for name, size in SIZES.items():
        with made.volume(name).open("r+b") as file:
            file.write(random.Random(name).randbytes(size // 2))
    return made


@pytest.fixture
def server(files: GroupFiles) -> Iterator[WritePath]:
    server = WritePath.open(files.settings)
    yield server
    server.close()
