"""Watches this host: network links and addresses, load, memory, disks, attached devices.

Owns a thread that looks every ten seconds and tells of changes: a link that
went down, an address that is gone, a disk that is nearly full. Works without
rights and in network namespaces: what cannot be read is left out. Decides
nothing; pairs are judged by what the other agent says.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Protocol

import psutil

from hostagent.api.host import HostDisk, HostFacts, HostLink

LOOK_SECONDS: Final = 10.0
DISK_WARN_PERCENT: Final = 5.0  # free


class Emit(Protocol):
    def __call__(self, level: str, name: str, message: str, facts: dict[str, Any] | None = None) -> object: ...


class Monitor:
    """`facts` may be asked by any thread; `start` begins to tell of changes."""

    def __init__(self, directories: Iterable[Path], emit: Emit, devices: Callable[[], Iterable[str]] = tuple) -> None:
        self._directories = [*directories]
        self._emit = emit
        self._devices = devices  # asked at each look: what became of no use
        self._ended = threading.Event()
        self._links: dict[str, HostLink] | None = None  # before the first look
        self._low: set[str] = set()
        self._thread = threading.Thread(target=self._main, name="monitor", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()

    def facts(self) -> HostFacts:
        """How the host is now."""
        return HostFacts(
            load=[round(value, 2) for value in os.getloadavg()],
            processors=os.cpu_count() or 1,
            memory_available_bytes=psutil.virtual_memory().available,
            links=read_links(),
            disks=read_disks(self._directories),
        )

    def look(self) -> None:
        """Compare with the last look and tell what changed."""
        links = {link.name: link for link in read_links()}
        for name, message, level in changes(self._links if self._links is not None else links, links):
            self._emit(level, "host.link", message, {"link": name})
        self._links = links
        low = {disk.path for disk in read_disks(self._directories) if _is_low(disk)}
        for path in sorted(low - self._low):
            self._emit("warning", "host.disk", f"the disk of {path} is nearly full", {"path": path})
        self._low = low
        for line in self._devices():
            self._emit("error", "volume.attachment_stale", line)

    def _main(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            self.look()


def read_links() -> list[HostLink]:
    """Network links of this namespace with their addresses; empty when the kernel does not tell."""
    # As long an import as half of an agent's start: it is left for who first asks about links.
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    with suppress(OSError, NetlinkError), IPRoute() as route:
        addresses: dict[int, list[str]] = {}
        for entry in route.get_addr():
            text = f"{entry.get_attr('IFA_ADDRESS')}/{entry['prefixlen']}"
            addresses.setdefault(entry["index"], []).append(text)
        return [
            HostLink(
                name=str(entry.get_attr("IFLA_IFNAME")),
                # Loopback and some virtual links have no operational state of their own.
                up=entry.get_attr("IFLA_OPERSTATE") == "UP"
                or (entry.get_attr("IFLA_OPERSTATE") == "UNKNOWN" and bool(entry["flags"] & 1)),
                addresses=sorted(addresses.get(entry["index"], [])),
            )
            for entry in route.get_links()
        ]
    return []


def read_disks(directories: Sequence[Path]) -> list[HostDisk]:
    found = []
    for directory in directories:
        with suppress(OSError):
            usage = shutil.disk_usage(directory)
            found.append(HostDisk(path=str(directory), total_bytes=usage.total, free_bytes=usage.free))
    return found


def changes(before: dict[str, HostLink], after: dict[str, HostLink]) -> list[tuple[str, str, str]]:
    """(link, message, level) for each thing that a person would want to know."""
    found = []
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if new is None:
            found.append((name, f"network link {name} is gone", "warning"))
        elif old is None:
            found.append((name, f"network link {name} is new", "info"))
        else:
            if old.up != new.up:
                found.append((name, f"network link {name} went {'up' if new.up else 'down'}", _level(new.up)))
            lost = sorted(set(old.addresses) - set(new.addresses))
            if lost:
                found.append((name, f"network link {name} lost {', '.join(lost)}", "warning"))
            won = sorted(set(new.addresses) - set(old.addresses))
            if won:
                found.append((name, f"network link {name} has {', '.join(won)}", "info"))
    return found


def _level(up: bool) -> str:
    return "info" if up else "warning"


def _is_low(disk: HostDisk) -> bool:
    return disk.total_bytes > 0 and 100 * disk.free_bytes / disk.total_bytes < DISK_WARN_PERCENT
