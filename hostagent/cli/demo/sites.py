"""Two sites in a directory on this machine: start, kill and restart their daemons.

Owns the directory's layout, the configuration files, the ports and the
processes. Must not know volumes, pairs, or what is shown or tested with the
sites; it prints nothing.

Every process of a site, also those that its controller and agent start
(nbdkit, nbdfuse), inherits a mark in its environment: the site's directory.
Ending a site means ending what carries the mark, so nothing is ever killed by
name, and nothing is missed that outlives its parent.

Layout: DIRECTORY/SITE/{controller.toml,agent.toml,controller/,agent/,run/,*.log}
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

import psutil

from controller.errors import PeerError
from hostagent.cli.demo.processes import MARK, ended, finish, marked_processes, name_of, send, wait_until

START_SECONDS: Final = 20.0
STOP_SECONDS: Final = 5.0


class Daemon(StrEnum):
    """The two daemons of a site."""

    CONTROLLER = "controller"
    AGENT = "agent"


@dataclass
class Site:
    """One site: a controller and an agent, and whatever they start.

    `agent_port` is where its own agent listens; `peers` maps other sites to
    the address at which this site reaches their agent (a test may put a proxy
    there).
    """

    name: str
    directory: Path
    agent_port: int
    peers: dict[str, str] = field(default_factory=dict)
    _children: dict[Daemon, subprocess.Popen[bytes]] = field(default_factory=dict, repr=False)

    @property
    def agent_url(self) -> str:
        return f"http://127.0.0.1:{self.agent_port}"

    @property
    def controller_address(self) -> str:
        return f"unix:{self.directory}/run/controller.sock"

    def configuration(self, daemon: Daemon) -> Path:
        return self.directory / f"{daemon}.toml"

    def log(self, daemon: Daemon) -> Path:
        return self.directory / f"{daemon}.log"

    def state_directory(self, daemon: Daemon) -> Path:
        return self.directory / daemon

    def write_configuration(self) -> None:
        """Write both TOML files and make the directories they name."""
        for name in (*Daemon, "run"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        self.configuration(Daemon.CONTROLLER).write_text(
            f'site = "{self.name}"\n'
            f'state_directory = "{self.state_directory(Daemon.CONTROLLER)}"\n'
            f'run_directory = "{self.directory}/run"\n'
            f'listen = "{self.controller_address}"\n'
            f'data_address = "127.0.0.1"\n'
        )
        peers = "".join(f'\n[peers.{name}]\nagent = "{address}"\n' for name, address in self.peers.items())
        self.configuration(Daemon.AGENT).write_text(
            f'site = "{self.name}"\n'
            f'state_directory = "{self.state_directory(Daemon.AGENT)}"\n'
            f'listen = "127.0.0.1:{self.agent_port}"\n'
            f'controller = "{self.controller_address}"\n'
            f"{peers}"
        )

    def start(self, daemon: Daemon | None = None) -> None:
        """Start one daemon, or both; returns at once, see `wait_ready`."""
        for each in (daemon,) if daemon else Daemon:
            self._start(each)

    def command(self, daemon: Daemon) -> list[str]:
        """What starts a daemon; its configuration is the last word (see `daemon_process`)."""
        configuration = str(self.configuration(daemon))
        return [sys.executable, "-m", "hostagent.cli.main", daemon, "run", "--config", configuration]

    def _start(self, daemon: Daemon) -> None:
        root = Path(__file__).resolve().parents[3]
        paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = os.environ | {MARK: str(self.directory), "PYTHONPATH": os.pathsep.join(paths)}
        with self.log(daemon).open("ab") as log:
            # A session of its own: Ctrl-C in the terminal reaches us, and we end the site in order.
            self._children[daemon] = subprocess.Popen(
                self.command(daemon),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )

    def ready(self) -> bool:
        """Whether the agent answers and reaches its controller."""
        import httpx

        try:
            # No TLS is spoken there; to read the authorities of the system would take longer than the answer.
            answer = httpx.get(f"{self.agent_url}/v1/agent", timeout=2.0, trust_env=False, verify=False)
        except httpx.HTTPError:
            return False
        return answer.status_code == 200 and bool(answer.json()["controller_ok"])

    def wait_ready(self, seconds: float = START_SECONDS) -> None:
        """Wait until both daemons answer; a daemon that ended meanwhile is named with its last words."""

        def up() -> bool:
            for daemon, child in self._children.items():
                if child.poll() is not None:
                    raise PeerError(
                        f"the {daemon} of {self.name} ended with code {child.returncode}: {self.last_words(daemon)}",
                        hint=f"See {self.log(daemon)}.",
                    )
            return self.ready()

        if not wait_until(up, seconds):
            raise PeerError(
                f"the site {self.name} did not answer within {seconds:g} s",
                hint=f"See {self.log(Daemon.CONTROLLER)} and {self.log(Daemon.AGENT)}.",
            )

    def last_words(self, daemon: Daemon) -> str:
        """The last line of a daemon's log."""
        with contextlib.suppress(OSError):
            lines = self.log(daemon).read_text(errors="replace").split("\n")
            return next((line.strip() for line in reversed(lines) if line.strip()), "no message")
        return "no message"

    def daemon_process(self, daemon: Daemon) -> psutil.Process | None:
        """The running daemon, also one that an earlier program started; None when it is down."""
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                if process.cmdline()[-1:] == [str(self.configuration(daemon))]:
                    return process
        return None

    def kill(self, daemon: Daemon, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to one daemon and wait for its end. What it started lives on."""
        process = self.daemon_process(daemon)
        if process is not None:
            send([process], number)
            ended([process], STOP_SECONDS)
        self._reap()

    def kill_site(self) -> int:
        """SIGKILL everything this site runs, at once, as a power cut would; returns how many processes."""
        processes = self.processes()
        # Those who restart others go first.
        processes.sort(key=lambda process: process.pid not in {child.pid for child in self._children.values()})
        send(processes, signal.SIGKILL)
        ended(processes, STOP_SECONDS)
        self._reap()
        return len(processes)

    def stop(self) -> None:
        """End the site in order: its daemons, then the servers that they leave running by design."""
        daemons = map(self.daemon_process, Daemon)
        finish([process for process in daemons if process is not None], STOP_SECONDS)
        finish(self.processes(), STOP_SECONDS)
        self._reap()

    def processes(self, name: str | None = None) -> list[psutil.Process]:
        """Everything that carries this site's mark; with `name`, only programs of that name (nbdkit)."""
        return [
            process for process in marked_processes(str(self.directory)) if name is None or name_of(process) == name
        ]

    def _reap(self) -> None:
        for daemon, child in list(self._children.items()):
            if child.poll() is None:
                if not ended([psutil.Process(child.pid)], 0):
                    continue
                child.wait(STOP_SECONDS)  # dead, but for threads that are still ending
            del self._children[daemon]


@dataclass
class TwoSites:
    """A primary and a secondary site that know each other."""

    directory: Path
    primary: Site
    secondary: Site

    @classmethod
    def create(
        cls, directory: Path, primary: str = "tokyo", secondary: str = "osaka", second_directory: Path | None = None
    ) -> TwoSites:
        """Choose ports and write the configuration of both sites; starts nothing.

        The second site lies beside the first, or in a directory elsewhere.
        """
        ports = free_ports(2)
        first = Site(primary, directory / primary, ports[0])
        second = Site(secondary, (second_directory or directory) / secondary, ports[1])
        first.peers[secondary] = second.agent_url
        second.peers[primary] = first.agent_url
        for site in (first, second):
            site.write_configuration()
        return cls(directory, first, second)

    def __iter__(self) -> Iterator[Site]:
        return iter((self.primary, self.secondary))

    def start(self) -> None:
        """Start all four daemons together and wait until both sites answer."""
        for site in self:
            site.start()
        for site in self:
            site.wait_ready()

    def stop(self) -> None:
        for site in self:
            site.stop()


def free_ports(count: int) -> list[int]:
    """Loopback TCP ports that nobody listens on now; all different."""
    with contextlib.ExitStack() as stack:
        ports = []
        for _ in range(count):
            listener = stack.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            ports.append(int(listener.getsockname()[1]))
        return ports
