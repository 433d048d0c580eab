"""A group of two volumes with a journal of a MiB, open in this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.volume.write_path import WritePath
from tests.support.volume_server import GroupFiles
from tests.unit.volume.parts import MIB


@pytest.fixture
def files(tmp_path: Path) -> GroupFiles:
    return GroupFiles(tmp_path, {"data": 8 * MIB, "log": 2 * MIB}, MIB).create()


@pytest.fixture
def server(files: GroupFiles) -> Iterator[WritePath]:
    server = WritePath.open(files.settings)
    yield server
    server.close()
