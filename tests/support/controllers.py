"""A real storage controller in a process of its own, which a test may kill and start again."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from controller.api.client import ControllerClient
from controller.api.models import Event
from controller.errors import PeerError
from controller.stopping import stop_all
from tests.support.processes import Processes
from tests.support.waiting import wait_until


class ControllerProcess:
    """One controller of one site; `client` talks to it over its Unix socket."""

    def __init__(self, processes: Processes, directory: Path, site: str) -> None:
        self.site = site
        self.directory = directory
        self.state_directory = directory / "state"
        self.run_directory = directory / "run"
        self.config = directory / "controller.toml"
        directory.mkdir(parents=True, exist_ok=True)
        self.config.write_text(
            f'site = "{site}"\nstate_directory = "{self.state_directory}"\nrun_directory = "{self.run_directory}"\n'
            "[servers]\nstart_seconds = 20.0\nstop_seconds = 5.0\n"
        )
        self.client = ControllerClient(f"unix:{self.run_directory}/controller.sock", seconds=20.0)
        self._processes = processes
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        run = "import sys; from controller.daemon import run; run(sys.argv[1])"
        self._process = process = self._processes.start([sys.executable, "-c", run, self.config], self.site)

        def answers() -> bool:
            assert process.poll() is None, self._processes.log(self.site)
            try:
                return self.client.site().site == self.site
            except PeerError:
                return False

        wait_until(answers, what=f"controller {self.site} to answer")

    def kill(self, number: signal.Signals = signal.SIGKILL) -> int:
        """End the controller alone; its servers run on. Returns its exit code."""
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(20)

    def restart(self) -> None:
        """Kill it the hard way and start it again."""
        self.kill()
        self.start()

    def server_pid(self, server: str) -> int:
        """Pid of one of its nbdkit processes."""
        return int((self.run_directory / f"{server}.pid").read_text())

    def wait_event(self, name: str, **facts: object) -> Event:
        """The first event of a name with these facts, waited for."""

        def found() -> Event | None:
            named = (event for event in self.client.events() if event.name == name)
            return next((event for event in named if facts.items() <= event.facts.items()), None)

        event = wait_until(found, what=f"event {name} with {facts}")
        assert event is not None
        return event

    def stop(self) -> None:
        """End everything, whatever state it is in."""
        self.client.close()
        stop_all(self.state_directory, wait_seconds=10.0)


@contextmanager
def controllers(directory: Path, *sites: str) -> Iterator[list[ControllerProcess]]:
    """Started controllers; at the end nothing of them is left, whatever happened between."""
    with Processes(directory / "logs") as processes:
        made = [ControllerProcess(processes, directory / site, site) for site in sites]
        try:
            for each in made:
                each.start()
            yield made
        finally:
            for each in made:
                each.stop()
