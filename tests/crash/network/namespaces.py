"""Two network namespaces without names, joined by a wire process. Nothing of them outlives this process.

A namespace lives as long as the process that holds it, and that ends when its
standard input does; a TUN device goes with its namespace. So neither a test
that fails nor one that is killed leaves anything to be removed.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import struct
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.crash.network.lanes import MTU_BYTES, Faults
from tests.support.processes import PROJECT
from tests.support.waiting import wait_until

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
FAR_ADDRESS = "127.0.0.2"  # the other site, as each site sees it
SET_UP = """
ip link set lo up
ip addr flush dev lo
ip addr add 127.0.0.1/32 dev lo
for which in all {device}; do
  echo 1 >/proc/sys/net/ipv4/conf/$which/route_localnet
  echo 0 >/proc/sys/net/ipv4/conf/$which/rp_filter
done
ip link set {device} mtu {mtu}
"""
UP = "ip link set {device} up; ip route replace {far}/32 dev {device} src 127.0.0.1"


def missing() -> str:
    """Why there can be no namespaces here; empty when there can."""
    if os.geteuid() != 0:
        return "not root: network namespaces need it"
    if not Path("/dev/net/tun").exists():
        return "no /dev/net/tun: the kernel has no TUN devices"
    for program in ("ip", "ss", "unshare", "nsenter"):
        if shutil.which(program) is None:
            return f"{program} is not installed: run make tools as root"
    if subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode:
        return "unshare --net is refused here: no right to make network namespaces"
    return ""


class Namespace:
    """A network namespace, held by a process that waits for the end of its input."""

    def __init__(self, device: str) -> None:
        self.device = device
        self._holder = subprocess.Popen(
            ["unshare", "--net", "cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
        )
        self.path = f"/proc/{self._holder.pid}/ns/net"
        own = os.readlink("/proc/self/ns/net")
        wait_until(lambda: os.readlink(self.path) != own, 10, "a network namespace")
        self.end = _tun(device)
        subprocess.run(["ip", "link", "set", device, "netns", str(self._holder.pid)], check=True)
        self.shell(SET_UP.format(device=device, mtu=MTU_BYTES))
        self.link(up=True)

    @property
    def prefix(self) -> list[str]:
        """Words before a command that is to run inside."""
        return ["nsenter", f"--net={self.path}", "--"]

    def shell(self, script: str) -> str:
        done = subprocess.run([*self.prefix, "sh", "-ec", script], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{script}: {done.stderr}"
        return done.stdout

    def link(self, *, up: bool) -> None:
        """The device as after its cable was pulled, or put back."""
        words = UP if up else "ip link set {device} down"
        self.shell(words.format(device=self.device, far=FAR_ADDRESS))

    def unacknowledged(self, ports: list[int]) -> int:
        """Bytes that connections with the other site, at other ports of it than these, have sent or are to send."""
        filters = " and ".join([f"dst {FAR_ADDRESS}", *(f"dport != :{port} and sport != :{port}" for port in ports)])
        return sum(int(line.split()[1]) for line in self.shell(f"ss -HOtn state established '{filters}'").splitlines())

    def kill_connections(self, ports: list[int] | None = None) -> int:
        """End connections with the other site (at these own ports), with RST to both ends; how many."""
        filters = "" if ports is None else f"( {' or '.join(f'sport = :{port}' for port in ports)} )"
        return len(self.shell(f"ss -HKtn dst {FAR_ADDRESS} '{filters}'").splitlines())

    def close(self) -> None:
        os.close(self.end)
        assert self._holder.stdin is not None
        self._holder.stdin.close()
        self._holder.wait(10)


class Network:
    """Two namespaces and the wire between them."""

    def __init__(self, control_ports: list[int], seed: int = 1) -> None:
        self.stack = ExitStack()
        try:
            self.namespaces = tuple(self._namespace(f"pv{number}x{os.getpid()}"[:15]) for number in (1, 2))
            ends = [namespace.end for namespace in self.namespaces]
            words = [*map(str, ends), str(seed), ",".join(map(str, control_ports))]
            self._wire = subprocess.Popen(
                [sys.executable, "-m", "tests.crash.network.wire", *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                pass_fds=ends,
                cwd=PROJECT,
            )
            self.stack.callback(self._end_wire)
        except BaseException:
            self.stack.close()
            raise

    def _namespace(self, device: str) -> Namespace:
        namespace = Namespace(device)
        self.stack.callback(namespace.close)
        return namespace

    def _end_wire(self) -> None:
        assert self._wire.stdin is not None
        assert self._wire.stdout is not None
        self._wire.stdin.close()
        self._wire.wait(10)
        self._wire.stdout.close()

    def set(self, faults: Faults) -> Counter[str]:
        """Put faults in force; what became of all packets until now."""
        return self._told(faults.to_wire())

    def counts(self) -> Counter[str]:
        """What became of all packets until now."""
        return self._told(None)

    def _told(self, document: object) -> Counter[str]:
        assert self._wire.stdin is not None
        assert self._wire.stdout is not None
        self._wire.stdin.write(json.dumps(document) + "\n")
        self._wire.stdin.flush()
        return Counter(json.loads(self._wire.stdout.readline()))

    def heal(self) -> Counter[str]:
        return self.set(Faults())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stack.close()


def _tun(name: str) -> int:
    end = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        fcntl.ioctl(end, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    except BaseException:
        os.close(end)
        raise
    return end
