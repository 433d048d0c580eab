"""A real storage controller in a process of its own, which a test may kill and start again."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from controller.api.client import ControllerClient
from controller.api.models import Event, ServerState
from controller.errors import PeerError
from controller.state import Phase, StateStore
from controller.stopping import stop_all
from tests.support.processes import AnyProcess, Processes
from tests.support.waiting import wait_until
from tests.support.zygote import zygote


class ControllerProcess:
    """One controller of one site; `client` talks to it over its Unix socket."""

    def __init__(self, processes: Processes, directory: Path, site: str, extra: str = "") -> None:
        self.site = site
        self.mortal = False  # start it so that `die_at` has an effect
        self.program = "", ""  # a module to run in the controller's place, with PAIRVOL_MUTANT
        self.directory = directory
        self.state_directory = directory / "state"
        self.run_directory = directory / "run"
        self.config = directory / "controller.toml"
        directory.mkdir(parents=True, exist_ok=True)
        self._extra = extra
        self.configure("")
        self.client = ControllerClient(f"unix:{self.run_directory}/controller.sock", seconds=20.0)
        self._processes = processes
        self._process: AnyProcess | None = None

    def configure(self, more: str) -> None:
        """Write its configuration file, for its next start, with some more tables.

        Without an agent nobody orders a primary that was away to serve, so it does not wait for that.
        """
        more = f"{self._extra}{more}"
        if "[serve]" not in more:
            more += "[serve]\nalone_after_seconds = 0.2\n"
        self.config.write_text(
            f'site = "{self.site}"\nstate_directory = "{self.state_directory}"\n'
            f'run_directory = "{self.run_directory}"\n'
            f"[servers]\nstart_seconds = 20.0\nstop_seconds = 5.0\n{more}"
        )

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._launch()
        process = self._process

        def answers() -> bool:
            assert process is not None
            assert process.poll() is None, self._processes.log(self.site)
            return self._answers()

        wait_until(answers, what=f"controller {self.site} to answer")

    def _launch(self) -> None:
        module, mutant = self.program
        if module:
            environment = {"PAIRVOL_MUTANT": mutant}
            self._process = self._processes.start([sys.executable, "-m", module, self.config], self.site, environment)
        else:
            self._process = self._processes.adopt(
                zygote.start(self.config, self.mortal, self._processes.log_of(self.site))
            )

    def _answers(self) -> bool:
        try:
            return self.client.site().site == self.site
        except PeerError:
            return False

    def wait_served(self, volume: str) -> str:
        """The NBD address of a volume, once it is served."""

        def served() -> bool:
            try:
                return self.client.volume(volume).server is ServerState.RUNNING
            except PeerError:  # the controller is just coming back
                return False

        wait_until(served, what=f"{volume} to be served")
        uri = self.client.volume(volume).uri
        assert uri is not None
        return uri

    def kill(self, number: signal.Signals = signal.SIGKILL) -> int:
        """End the controller alone; its servers run on. Returns its exit code."""
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(20)

    def restart(self) -> None:
        """Kill it the hard way and start it again."""
        self.kill()
        self.start()

    def die_at(self, step: int) -> None:
        """Let a mortal controller kill itself after so many steps from now (tests/support/mortal.py)."""
        self._order.write_text(str(step))

    def wait_died(self) -> None:
        """Wait for the death that was ordered."""
        assert self._process is not None
        self._process.wait(20)
        self.live_on()

    def live_on(self) -> None:
        """Take the order back."""
        self._order.unlink()

    def settled(self) -> bool:
        """Whether nothing is in the middle of a command."""
        document = StateStore.open(self.state_directory / "state.json", self.site).document
        phases = [volume.phase for volume in document.volumes.values()]
        phases += [group.phase for group in document.groups.values()]
        phases += [pool_volume.phase for pool_volume in document.pool.values()]
        return all(phase is Phase.READY for phase in phases)

    def start_to_die(self) -> bool:
        """Start it with an order to die at hand; whether it died before everything was settled."""
        self._launch()
        process = self._process
        assert process is not None

        def decided() -> str:
            if process.poll() is not None:
                return "died"
            return "settled" if self.settled() and self._answers() else ""

        outcome = wait_until(decided, what=f"controller {self.site} to die or to settle")
        self.live_on()
        return outcome == "died"

    @property
    def _order(self) -> Path:
        return self.config.with_suffix(".die")

    @property
    def pid(self) -> int:
        """Of the controller itself."""
        assert self._process is not None
        return self._process.pid

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
def controllers(
    directory: Path, *sites: str, mortal: bool = False, extra: str = ""
) -> Iterator[list[ControllerProcess]]:
    """Started controllers; at the end nothing of them is left, whatever happened between."""
    with Processes(directory / "logs") as processes:
        made = [ControllerProcess(processes, directory / site, site, extra) for site in sites]
        try:
            for each in made:
                each.mortal = mortal
                each.start()
            yield made
        finally:
            for each in made:
                each.stop()
