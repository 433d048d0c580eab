"""Two real sites whose agents can be told to die at a step of a command, and a pair of one small volume.

Owns the processes, what was written, and how a person goes on after a death:
the agent is started again, and the same command given again until it is taken.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from controller.api.models import VolumeCreate
from controller.errors import ConflictError, NotFoundError, PairvolError, PeerError
from hostagent.api.models import PairCreate, PairState, PairStatus, SiteVolumes
from hostagent.cli.demo.sites import Daemon, Site, TwoSites, free_ports
from hostagent.client import Agent
from tests.support.checkpoints import take_checkpoints
from tests.support.nbdkit import connected
from tests.support.waiting import DeadlineError, wait_until

VOLUME_BYTES: Final = 4 << 20
JOURNAL_BYTES: Final = 4 << 20
BLOCK: Final = 4096
AGAIN_SECONDS: Final = 60.0
CONFIRM_SECONDS: Final = 3  # long for who confirms at once
REFUSALS: Final = (ConflictError, PeerError)
_numbers = itertools.count(1)

Command = Callable[[], object]


class MortalSite(Site):
    """Its daemons die when they are told to; see tests/support/mortal.py and mortal_agent.py."""

    def command(self, daemon: Daemon) -> list[str]:
        program = "tests.support.mortal" if daemon is Daemon.CONTROLLER else "tests.support.mortal_agent"
        return [sys.executable, "-m", program, str(self.configuration(daemon))]

    def die_at(self, daemon: Daemon, step: str) -> None:
        """`step`: a number, or a number and a name."""
        self.configuration(daemon).with_suffix(".died").unlink(missing_ok=True)
        self.configuration(daemon).with_suffix(".die").write_text(step)

    def start(self, daemon: Daemon | None = None) -> None:
        self._reap()
        super().start(daemon)

    def live_on(self, daemon: Daemon) -> None:
        """Take the order back."""
        self.configuration(daemon).with_suffix(".die").unlink(missing_ok=True)

    def died(self, daemon: Daemon) -> str | None:
        """At which step it died of the order; None when it lives."""
        with suppress(FileNotFoundError):
            return self.configuration(daemon).with_suffix(".died").read_text()
        return None


class MortalSites(TwoSites):
    """tokyo and osaka; `mutant` is a mistake that both agents make."""

    def __init__(self, directory: Path, mutant: str = "") -> None:
        ports = free_ports(2)
        first = MortalSite("tokyo", directory / "tokyo", ports[0])
        second = MortalSite("osaka", directory / "osaka", ports[1])
        super().__init__(directory, first, second)
        first.peers["osaka"], second.peers["tokyo"] = second.agent_url, first.agent_url
        for site in self:
            site.write_configuration()
            path = site.configuration(Daemon.AGENT)
            path.write_text(f"{path.read_text()}\n[drill]\nconfirm_seconds = {CONFIRM_SECONDS}\n")
        self._mutant = mutant

    def start(self) -> None:
        os.environ["PAIRVOL_MUTANT"] = self._mutant
        super().start()


def start(site: Site) -> None:
    """Start what is down of a site, and wait until it answers."""

    def answers() -> bool:
        for daemon in Daemon:
            if site.daemon_process(daemon) is None:
                site.start(daemon)
        return site.ready()

    wait_until(answers, AGAIN_SECONDS, f"{site.name} to answer", interval=0.1)


def taken(
    command: Command,
    done: Callable[[PairvolError], bool] = lambda error: False,
    refusals: tuple[type[PairvolError], ...] = REFUSALS,
) -> int:
    """Give a command at a person's pace until it is taken, or fails in a way that is `done`; how often it was refused.

    What is none of the `refusals` is raised.
    """
    refused = 0
    last: PairvolError | None = None

    def given() -> bool:
        nonlocal refused, last
        try:
            command()
        except PairvolError as error:
            if done(error):
                return True
            if not isinstance(error, refusals):
                raise
            refused, last = refused + 1, error
            return False
        return True

    try:
        wait_until(given, AGAIN_SECONDS, interval=0.25)
    except DeadlineError as error:
        words = f"{last.message} ({last.hint})" if last else ""
        raise AssertionError(f"refused to the end: {words}") from error
    return refused


class Pair:
    """A pair that a test turns about. `primary` and `secondary` are what they are now."""

    def __init__(self, sites: MortalSites) -> None:
        self.name = f"pair{next(_numbers)}"
        self.sites = sites
        self.agents = {site.name: Agent(site.agent_url) for site in sites}
        self.primary, self.secondary = sites.primary, sites.secondary
        self.expected: dict[int, int] = {}
        self.number = 0
        self.agent(self.primary).create_volume(VolumeCreate(name=self.name, size_bytes=VOLUME_BYTES))

    def agent(self, site: Site) -> Agent:
        return self.agents[site.name]

    def site(self, name: str) -> MortalSite:
        found = next(site for site in self.sites if site.name == name)
        assert isinstance(found, MortalSite)
        return found

    def turn(self) -> None:
        self.primary, self.secondary = self.secondary, self.primary

    def order(self) -> PairCreate:
        return PairCreate(
            group=self.name,
            primary=SiteVolumes(site=self.primary.name, volumes=[self.name]),
            secondary=SiteVolumes(site=self.secondary.name, volumes=[self.name]),
            journal_bytes=JOURNAL_BYTES,
            secondary_journal_bytes=2 * JOURNAL_BYTES,
        )

    # -- what hosts do ---------------------------------------------------------------

    def write(self, site: Site | None = None, *, kept: bool = True) -> None:
        """Write and flush eight blocks; `kept`: they are to be there at the end."""
        uri = self.agent(site or self.primary).volume(self.name).uri
        assert uri is not None
        with connected(uri) as handle:
            for _ in range(8):
                self.number += 1
                block = self.number * 37 % (VOLUME_BYTES // BLOCK)
                handle.pwrite(self.number.to_bytes(4, "big") * (BLOCK // 4), block * BLOCK)
                if kept:
                    self.expected[block] = self.number
            handle.flush()

    def flood(self) -> None:
        """Write the whole volume."""
        self.number += 1
        uri = self.agent(self.primary).volume(self.name).uri
        assert uri is not None
        with connected(uri) as handle:
            for offset in range(0, VOLUME_BYTES, 1 << 18):
                handle.pwrite(self.number.to_bytes(4, "big") * (1 << 16), offset)
            handle.flush()
        self.expected = dict.fromkeys(range(VOLUME_BYTES // BLOCK), self.number)

    def content(self, site: Site) -> bytes:
        return Path(self.agent(site).volume(self.name).backing).read_bytes()

    # -- what is waited for ------------------------------------------------------------

    def status(self) -> PairStatus:
        return self.agent(self.primary).pair_status(self.name)

    def wait(self, *states: PairState) -> PairStatus:
        """Wait until both agents say one of these states."""
        found: dict[str, PairStatus] = {}

        def reached() -> bool:
            for site in (self.primary, self.secondary):
                with suppress(PairvolError):
                    found[site.name] = self.agent(site).pair_status(self.name)
            return len(found) == 2 and all(status.state in states for status in found.values())

        try:
            wait_until(reached, AGAIN_SECONDS, f"{self.name} to be {states}", interval=0.1)
        except AssertionError as error:
            raise AssertionError(f"{error}; {[status.line for status in found.values()]}") from None
        return found[self.primary.name]

    def in_step(self, tend: Callable[[], None] = lambda: None) -> None:
        """Both volumes hold the same, and everything that was to be kept; `tend` is called while that is waited for."""

        def quiet() -> bool:
            tend()
            sides = self.agent(self.primary).journal(self.name)
            one, other = sides.primary, sides.secondary
            if one is None or other is None or one.epoch is not None:
                return False
            newest = one.pointers["journal_in"].sequence
            if newest != other.pointers["already_restored"].sequence:
                return False
            if newest != one.pointers["checkpoint"].sequence:
                take_checkpoints(self.primary)
                return False
            return True

        wait_until(quiet, AGAIN_SECONDS, f"{self.name} to be in step", interval=0.1)
        here, there = self.content(self.primary), self.content(self.secondary)
        assert here == there, "the volumes differ"
        self.holds(here)

    def holds(self, content: bytes) -> None:
        lost = [
            number
            for block, number in self.expected.items()
            if content[block * BLOCK : block * BLOCK + 4] != number.to_bytes(4, "big")
        ]
        assert not lost, f"writes {lost} are gone"

    # -- commands ------------------------------------------------------------------------

    def again(self, command: Command, done: Callable[[PairvolError], bool] = lambda error: False) -> int:
        """Give a command until it is taken, as a person does who reads the hints; how often it was refused."""
        return taken(command, done, (*REFUSALS, NotFoundError))

    def killed_at(self, victim: MortalSite, step: int, command: Command) -> str | None:
        """Give a command until it is taken or the victim's agent died at a step of it; which, None when it lives.

        A refusal that names a moment to wait is none of the death's.
        """
        victim.die_at(Daemon.AGENT, str(step))
        try:
            taken(command, lambda error: victim.died(Daemon.AGENT) is not None)
        finally:
            victim.live_on(Daemon.AGENT)
        died = victim.died(Daemon.AGENT)
        if died is not None:
            wait_until(lambda: victim.daemon_process(Daemon.AGENT) is None, what="the agent to be dead")
            start(victim)
        return died

    def close(self) -> None:
        for site in self.sites:
            start(site)
        for agent in self.agents.values():
            with suppress(NotFoundError):
                agent.delete_pair(self.name, force=True)
            agent.close()
