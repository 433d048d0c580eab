"""Finds what a test run left on the machine: processes, mounts and loop devices of its own folders.

Looks only for things that name one of the given folders, so that two runs
side by side do not blame each other.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import psutil


def _under(path: str, folders: Sequence[Path]) -> bool:
    return any(path == str(folder) or path.startswith(f"{folder}/") for folder in folders)


def left_processes(folders: Sequence[Path]) -> list[str]:
    """Processes (not this one, not its parents) that name a folder in their command line."""
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found = []
    for process in psutil.process_iter(["pid", "cmdline", "status"]):
        info = process.info
        words = info["cmdline"] or []
        named = any(f"{folder}/" in word or word.endswith(str(folder)) for word in words for folder in folders)
        if named and info["pid"] not in own and info["status"] != psutil.STATUS_ZOMBIE:
            found.append(f"process {info['pid']}: {' '.join(words)[:200]}")
    return found


def left_mounts(folders: Sequence[Path]) -> list[str]:
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [f"mount {point}" for point in points if _under(point, folders)]


def left_loops(folders: Sequence[Path]) -> list[str]:
    answer = subprocess.run(["losetup", "--list", "--json"], capture_output=True, text=True, check=False)
    devices = json.loads(answer.stdout)["loopdevices"] if answer.stdout.strip() else []
    return [f"loop {row['name']} on {row['back-file']}" for row in devices if _under(row["back-file"] or "", folders)]


def leftovers(folders: Sequence[Path]) -> list[str]:
    return [*left_processes(folders), *left_mounts(folders), *left_loops(folders)]
