"""Controllers for one test each, in folders with short paths."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.controllers import ControllerProcess, controllers

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
