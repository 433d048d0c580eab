"""Mounts of a process that took a namespace of its own are not seen by others, and end with it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash.log_disk.disks import attached, make_ext4, mount, unmount, wait_free
from tests.support.leftovers import left_mounts
from tests.support.processes import PROJECT
from tests.support.waiting import DeadlineError

pytestmark = pytest.mark.root
MOUNTS = """
import pathlib, subprocess, sys
from tests.support.leftovers import left_mounts
from tests.support.namespaces import own_mounts

assert own_mounts()
subprocess.run(["mount", "-t", "tmpfs", "none", sys.argv[1]], check=True)
print(left_mounts([pathlib.Path(sys.argv[1])]), flush=True)
sys.stdin.read()
"""


def test_whoever_runs_tests_has_mounts_of_its_own() -> None:
    assert os.readlink("/proc/self/ns/mnt") != os.readlink(f"/proc/{os.getppid()}/ns/mnt")


def test_what_it_mounts_is_its_own(short_path: Path) -> None:
    words = [sys.executable, "-c", MOUNTS, str(short_path)]
    with subprocess.Popen(words, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert str(short_path) in child.stdout.readline()
        assert left_mounts([short_path]) == []
        child.communicate()
    assert child.returncode == 0


def test_what_others_mounted_on_files_is_let_go(short_path: Path) -> None:
    image, point = short_path / "image", short_path / "a mount"
    make_ext4(image, 1 << 20)
    point.mkdir()
    with attached(image) as device:
        mount(device, point)
        words = [sys.executable, "-c", MOUNTS, str(short_path)]
        with subprocess.Popen(words, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            child.stdout.readline()
            unmount(point)
            wait_free(device)
            child.communicate()


def test_a_disk_that_another_namespace_holds_is_not_free(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.crash.log_disk.disks.FREE_SECONDS", 0.1)
    image, point = short_path / "image", short_path / "mnt"
    make_ext4(image, 1 << 20)
    point.mkdir()
    with attached(image) as device:
        mount(device, point)
        with subprocess.Popen(["unshare", "--mount", "sh", "-c", "echo here; cat"], stdin=-1, stdout=-1) as holder:
            assert holder.stdout is not None
            holder.stdout.readline()
            unmount(point)
            with pytest.raises(DeadlineError):
                wait_free(device)
            holder.communicate()
        wait_free(device)
