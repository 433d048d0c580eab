"""Controllers for one test each, in folders with short paths."""

from __future__ import annotations

import itertools
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.api.models import VolumeCreate
from controller.events import Events
from controller.servers import stop_strays
from tests.integration.controller.living import JOURNAL, SIZE
from tests.support.controllers import ControllerProcess, controllers
from tests.support.lifecycle import Life
from tests.support.nbdkit import connected
from tests.support.pairs import ControllerPair

if shutil.which("nbdkit") is None:
    pytest.skip("nbdkit is not installed: run make setup as root", allow_module_level=True)

_numbers = itertools.count(1)


@pytest.fixture
def directory(session_directory: Path) -> Path:
    return session_directory / f"c{next(_numbers)}"


@pytest.fixture
def tokyo(directory: Path) -> Iterator[ControllerProcess]:
    with controllers(directory, "tokyo") as (one,):
        yield one


@pytest.fixture
def tokyo_and_osaka(directory: Path) -> Iterator[list[ControllerProcess]]:
    with controllers(directory, "tokyo", "osaka") as both:
        yield both


@pytest.fixture
def quick(directory: Path) -> Iterator[list[ControllerProcess]]:
    """Two controllers whose full journals suspend soon."""
    with controllers(directory, "tokyo", "osaka", extra="[journal]\nfull_wait_seconds = 0.5\n") as both:
        yield both


@pytest.fixture
def life(quick: list[ControllerProcess]) -> Life:
    """A pair in step, with something in its volume."""
    tokyo, osaka = quick
    tokyo.client.create_volume(VolumeCreate(name="data", size_bytes=SIZE))
    with connected(tokyo.wait_served("data")) as handle:
        handle.pwrite(random.Random(1).randbytes(SIZE // 2), 0)
        handle.flush()
    pair = ControllerPair(tokyo, osaka, {"data": SIZE}, JOURNAL)
    life = Life(pair)
    life.begin()
    return life


@pytest.fixture
def events(directory: Path) -> Iterator[Events]:
    """An event log in a folder where a test's own keepers run servers; none of them is left."""
    directory.mkdir()
    events = Events(directory / "events.jsonl", "tokyo")
    yield events
    events.close()
    stop_strays(directory, set())
