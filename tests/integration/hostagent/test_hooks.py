"""Hooks on real ext4: frozen and thawed around a moment, also when the agent or the warden is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from controller.api.models import ServerState, Volume
from controller.errors import ConflictError
from controller.events import Events
from hostagent.api.models import AttachOrder
from hostagent.attach.devices import Devices
from hostagent.config import HookSettings
from hostagent.hooks.freeze import WARDEN, Frozen
from hostagent.hooks.quiet import Quiet
from tests.support.nbdkit import start_nbdkit, unix_uri
from tests.support.processes import Processes
from tests.support.waiting import wait_until

pytestmark = pytest.mark.root

SIZE_BYTES = 32 << 20


class Bench:
    """An ext4 on an attached volume, a program that writes to it, and one agent's hooks."""

    def __init__(self, directory: Path, processes: Processes) -> None:
        self.directory, self.point = directory, directory / "mnt"
        start_nbdkit(processes, directory / "v.sock", ["memory", str(SIZE_BYTES)], "server")
        self.devices = Devices(directory / "attachments.json", directory / "run")
        uri = unix_uri(directory / "v.sock", "data")
        volume = Volume(name="data", uuid="u", size_bytes=SIZE_BYTES, backing="/b", uri=uri, server=ServerState.RUNNING)
        device = self.devices.attach(volume, AttachOrder(volume="data")).device
        assert device is not None
        subprocess.run(["mkfs.ext4", "-q", device], check=True)
        self.point.mkdir()
        subprocess.run(["mount", device, self.point], check=True)
        self.events = Events(directory / "events.jsonl", "tokyo")

    def quiet(self, seconds: float = 10.0, before: str = "", after: str = "") -> Quiet:
        told = f'echo "$PAIRVOL_STAGE $PAIRVOL_GROUP $PAIRVOL_MARKER $PAIRVOL_RESULT" >>{self.directory}/told'
        settings = HookSettings(
            before=[told, *filter(None, [before])], after=[told, *filter(None, [after])], timeout_seconds=seconds
        )
        return Quiet(self.directory / "moments.json", settings, self.devices, self.events)

    def begin(self, quiet: Quiet) -> list[str]:
        return quiet.begin("db", ["data"], {"PAIRVOL_MARKER": "noon"}, freeze=True)

    def told(self) -> list[str]:
        return [" ".join(line.split()) for line in (self.directory / "told").read_text().splitlines()]

    def write(self) -> None:
        """Begin to write, in a process of its own: one that waits cannot be ended."""
        self.writer = subprocess.Popen(["sh", "-c", f"echo x >{self.point}/file; sync -f {self.point}"])

    def stands_still(self) -> bool:
        """Whether what is written now does not come through."""
        self.write()
        with suppress(subprocess.TimeoutExpired):
            self.writer.wait(0.5)
        return self.writer.poll() is None

    def wait_thawed(self) -> None:
        assert self.writer.wait(20) == 0

    def close(self) -> None:
        subprocess.run(["fsfreeze", "-u", self.point], capture_output=True, check=False)
        subprocess.run(["umount", self.point], check=True)
        self.devices.detach("data")
        self.events.close()


def wardens(point: Path) -> list[psutil.Process]:
    found = []
    for each in psutil.process_iter():
        with suppress(psutil.Error):
            words = each.cmdline()
            found += [each] if WARDEN in words and str(point) in words else []
    return found


@pytest.fixture
def bench(short_path: Path, processes: Processes) -> Iterator[Bench]:
    made = Bench(short_path, processes)
    try:
        yield made
    finally:
        wait_until(lambda: not wardens(made.point), 30, "no warden to be left")
        made.close()


def test_writes_wait_from_before_to_after(bench: Bench) -> None:
    quiet = bench.quiet()
    bench.write()
    bench.wait_thawed()
    assert bench.begin(quiet) == [str(bench.point)]
    assert bench.stands_still()
    with pytest.raises(ConflictError, match="under way"):
        bench.begin(quiet)
    quiet.end("db", good=True)
    bench.wait_thawed()
    assert bench.told() == ["before db noon", "after db noon ok"]
    quiet.recover()  # nothing is left to do
    assert len(bench.told()) == 2


def test_a_hook_that_fails_or_hangs_leaves_nothing_frozen_and_after_runs(bench: Bench) -> None:
    with pytest.raises(ConflictError, match="hook before failed with exit code 3: exit 3"):
        bench.begin(bench.quiet(before="exit 3"))
    with pytest.raises(ConflictError, match=r"did not end within 0\.3 s: sleep 60"):
        bench.begin(bench.quiet(0.3, before="sleep 60"))
    bench.write()
    bench.wait_thawed()
    assert bench.told() == ["before db noon", "after db noon failed"] * 2


def test_quiet_that_did_not_last_is_an_error(bench: Bench) -> None:
    quiet = bench.quiet(1.0)
    bench.begin(quiet)
    bench.write()
    bench.wait_thawed()  # by the time limit alone
    with pytest.raises(ConflictError, match="did not stand still to the end: thawed after 1 s"):
        quiet.end("db", good=True)
    assert bench.told()[-1] == "after db noon failed"


def test_a_file_system_that_is_frozen_already_is_not_thawed(bench: Bench) -> None:
    subprocess.run(["fsfreeze", "-f", bench.point], check=True)
    with pytest.raises(ConflictError, match="device or resource busy"):
        bench.begin(bench.quiet())
    assert bench.stands_still()
    subprocess.run(["fsfreeze", "-u", bench.point], check=True)
    bench.wait_thawed()


def test_a_killed_warden_is_made_good(bench: Bench) -> None:
    frozen = Frozen([str(bench.point)], 20.0)
    (warden,) = wardens(bench.point)
    warden.kill()
    assert bench.stands_still()
    with pytest.raises(ConflictError, match="did not stand still"):
        frozen.thaw()
    bench.wait_thawed()


AGENT = """
import sys
from pathlib import Path
from controller.events import Events
from hostagent.attach.devices import Devices
from hostagent.config import HookSettings
from hostagent.hooks.quiet import Quiet

directory = Path(sys.argv[1])
devices = Devices(directory / "attachments.json", directory / "run")
quiet = Quiet(directory / "moments.json", HookSettings(timeout_seconds=20), devices, Events(directory / "e", "tokyo"))
quiet.begin("db", ["data"], {"PAIRVOL_MARKER": "noon"}, freeze=True)
print("quiet", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("warden_too", [False, True])
def test_an_agent_that_is_killed_leaves_nothing_frozen(bench: Bench, warden_too: bool) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", AGENT, bench.directory], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ
    )
    assert child.stdout is not None
    assert child.stdin is not None
    assert child.stdout.readline() == b"quiet\n"
    assert bench.stands_still()
    if warden_too:
        (warden,) = wardens(bench.point)
        warden.kill()
    child.send_signal(signal.SIGKILL)
    child.wait(10)
    child.stdin.close()
    child.stdout.close()
    if warden_too:
        assert bench.writer.poll() is None
        bench.quiet().recover()  # the next agent's start
        assert bench.told() == ["after db noon interrupted"]
    bench.wait_thawed()
