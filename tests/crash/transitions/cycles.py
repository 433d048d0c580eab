"""Commands in circles: each turn of a circle cuts its commands one step later, and ends where it began.

| circle | commands | what must be so afterwards |
|---|---|---|
| make | create, delete | PAIR with the PVOL's content; no pair at either site, volumes whole |
| pause | split (read or write), resync | PSUS and the SVOL served; PAIR, volumes equal, no write lost |
| hand | planned takeover, and back | the other direction, PAIR, no write lost |
| lose | forced takeover, swap, and back | SSWS, then PAIR in the other direction, no confirmed write lost |
| rehearse | drill start, drill stop | one drill open, with devices, and the pair protected; none, restore goes on |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from controller.api.drills import DrillState
from controller.errors import NotFoundError, PairvolError
from hostagent.api.drills import DrillReport
from hostagent.api.models import PairResync, PairSplit, PairState
from hostagent.cli.demo.sites import Daemon
from tests.crash.transitions.sites import MortalSite, Pair, start
from tests.support.waiting import wait_until

ENDED_SECONDS: Final = 30.0  # for agents to end a drill: their controller would after a minute


@dataclass
class Turn:
    """One turn: every command is cut at `step` by a death of the agent that it is given to, or of the other one.

    It is given to the host of the present primary, or to the other host.
    """

    pair: Pair
    step: int
    to_secondary: bool
    other_dies: bool
    deaths: list[str]
    ordered: int = 0  # commands in which one was to happen
    refused: int = 0

    @property
    def host(self) -> MortalSite:
        pair = self.pair
        return pair.site((pair.secondary if self.to_secondary else pair.primary).name)

    def give(
        self,
        site: MortalSite,
        name: str,
        command: Callable[[MortalSite], object],
        done: Callable[[PairvolError], bool] = lambda error: False,
    ) -> None:
        """Give a command to the agent of a site, with a death in it; then again, to the same agent."""
        there = self.pair.sites.secondary if site is self.pair.sites.primary else self.pair.sites.primary
        victim = there if self.other_dies else site
        assert isinstance(victim, MortalSite)
        self.ordered += 1
        at = self.pair.killed_at(victim, self.step, lambda: command(site))
        if at is None:
            return
        self.deaths.append(f"{name}: {victim.name} after {at}")
        self.refused += self.pair.again(lambda: command(site), done)


def make(turn: Turn) -> None:
    pair = turn.pair
    site = turn.host
    agent = pair.agent(site)
    turn.give(site, "create", lambda _: agent.create_pair(pair.order()))
    pair.wait(PairState.PAIR)
    pair.write()
    pair.in_step()
    turn.give(site, "delete", lambda _: agent.delete_pair(pair.name), gone)
    for each in pair.sites:
        assert pair.agent(each).pairs() == [], f"{each.name} still has a pair"
        assert pair.agent(each).volume(pair.name).group is None
    pair.holds(pair.content(pair.primary))
    pair.holds(pair.content(pair.secondary))


def pause(turn: Turn) -> None:
    pair = turn.pair
    writable = turn.step % 2 == 0
    site = turn.host
    pair.write()
    turn.give(site, "split", lambda at: pair.agent(at).split_pair(pair.name, PairSplit(writable=writable)))
    line = pair.wait(PairState.PSUS).line
    assert f"{pair.secondary.name} is {'writable' if writable else 'readable'}" in line, line
    pair.write()
    if writable:
        pair.write(pair.secondary, kept=False)
    turn.give(site, "resync", lambda at: pair.agent(at).resync_pair(pair.name, PairResync(force=writable)))
    pair.wait(PairState.PAIR)
    pair.in_step()


def hand(turn: Turn) -> None:
    pair = turn.pair
    pair.write()
    goal = pair.secondary.name
    site = turn.host
    turn.give(site, "takeover", lambda at: pair.agent(at).take_over(pair.name, to=goal))
    pair.turn()
    status = pair.wait(PairState.PAIR)
    assert f"{pair.primary.name} -> {pair.secondary.name}" in status.line
    pair.write()
    pair.in_step()


def lose(turn: Turn) -> None:
    """The primary's site dies, comes back later with writes that never arrived, and follows."""
    pair = turn.pair
    pair.write()
    pair.in_step()
    pair.secondary.kill(Daemon.AGENT)
    pair.secondary.kill(Daemon.CONTROLLER)
    pair.write(kept=False)
    pair.primary.kill_site()
    start(pair.secondary)
    here, all_dies = pair.site(pair.secondary.name), turn.other_dies
    turn.other_dies = False  # the other agent is dead already
    turn.give(here, "forced takeover", lambda at: pair.agent(at).take_over(pair.name, to=here.name))
    turn.other_dies = all_dies
    pair.write(pair.secondary)
    start(pair.primary)
    pair.wait(PairState.SSWS)
    site = turn.host
    turn.give(site, "swap", lambda at: pair.agent(at).resync_pair(pair.name, PairResync(swap=True, force=True)))
    pair.turn()
    pair.wait(PairState.PAIR)
    pair.write()
    pair.in_step()


def rehearse(turn: Turn) -> None:
    pair = turn.pair
    site = turn.host
    before = len(turn.deaths)
    turn.give(site, "drill start", lambda at: pair.agent(at).start_drill(pair.name))
    # One that was confirmed, with nobody left to tell of that, stays beside that of the command given again.
    last = ("stamp_drill", "confirm_drill")
    most = 1 + any(death.endswith(last) for death in turn.deaths[before:])

    def opened() -> list[DrillReport]:
        return [each for each in pair.agent(site).drills(pair.name).drills if each.state is DrillState.OPEN]

    ended = f"unconfirmed drills of {pair.name} to end by themselves"
    wait_until(lambda: all(each.lease_seconds is None for each in opened()), ENDED_SECONDS, ended, interval=0.1)
    assert 1 <= len(opened()) <= most, f"drills open: {opened()}"
    assert all(each.devices for each in opened()), f"drills without devices: {opened()}"
    pair.write()
    pair.wait(PairState.PAIR)
    turn.give(site, "drill stop", lambda at: pair.agent(at).stop_drill(pair.name))
    ledger = pair.agent(site).drills(pair.name)
    left = [drill for drill in ledger.drills if drill.state in (DrillState.OPEN, DrillState.STARTING)]
    assert not left, f"drills left open: {left}"
    pair.in_step()


CIRCLES: Final[dict[str, Callable[[Turn], None]]] = {
    "make": make,
    "pause": pause,
    "hand": hand,
    "lose": lose,
    "rehearse": rehearse,
}


def gone(error: PairvolError) -> bool:
    return isinstance(error, NotFoundError)
