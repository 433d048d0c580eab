"""What every test shares: a short session folder, processes that end, skips with reasons, no leftovers."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.leftovers import leftovers
from tests.support.namespaces import own_mounts
from tests.support.processes import Processes
from tests.support.waiting import DeadlineError, wait_until

settings.register_profile("pairvol", deadline=None)  # a busy machine is no fault of what is tested
settings.load_profile("pairvol")

# Who starts the tests in the background of a script lets them ignore it, and with them what they start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def missing_for_root_tests() -> str:
    """Why tests marked `root` cannot run here; empty when they can."""
    if os.geteuid() != 0:
        return "not root: loop devices and mounts need it"
    if not Path("/dev/fuse").exists():
        return "no /dev/fuse: FUSE is not available here"
    if not Path("/dev/loop-control").exists():
        return "no /dev/loop-control: loop devices are not available here"
    for program in ("nbdfuse", "losetup", "mkfs.ext4", "fusermount3"):
        if shutil.which(program) is None:
            return f"{program} is not installed: run make tools as root"
    return ""


def pytest_configure() -> None:
    own_mounts()  # not for who is not root, who mounts nothing either


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    why_no_root = missing_for_root_tests()
    why_no_nbdkit = "" if shutil.which("nbdkit") else "nbdkit is not installed: run make setup as root"
    for item in items:
        if why_no_root and item.get_closest_marker("root"):
            item.add_marker(pytest.mark.skip(reason=why_no_root))
        if why_no_nbdkit and (item.get_closest_marker("e2e") or item.get_closest_marker("crash")):
            item.add_marker(pytest.mark.skip(reason=why_no_nbdkit))


@pytest.fixture(scope="session")
def session_directory() -> Iterator[Path]:
    """A folder with a short path: a Unix socket's name must stay under 108 bytes."""
    directory = Path(tempfile.mkdtemp(prefix="pairvol-test-"))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def _nothing_left_behind(session_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """At the end no process, mount or loop device names a folder of this session."""
    yield
    folders = [session_directory, tmp_path_factory.getbasetemp()]
    # Set up before every other session fixture, so torn down last; what is ending now gets a moment.
    try:
        wait_until(lambda: not leftovers(folders), 10)
    except DeadlineError:
        pytest.fail("the tests left behind:\n" + "\n".join(leftovers(folders)), pytrace=False)


@pytest.fixture
def short_path(session_directory: Path) -> Iterator[Path]:
    """Like tmp_path, with a short name, for everything that holds sockets; gone after the test."""
    directory = Path(tempfile.mkdtemp(prefix="t", dir=session_directory))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def processes(short_path: Path) -> Iterator[Processes]:
    with Processes(short_path / "logs") as registry:
        yield registry
