"""Who drives: the controller's table and the agents' seats in random histories of delays, deaths and starts.

At no moment are orders of two agents carried out at one controller; and when
the faults end, one agent of the highest rank that lives drives.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from controller.api.drivers import DriverLease
from controller.errors import ConflictError
from controller.groups.drivers import Drivers
from hostagent.hosts.seat import NO_TOKEN, Place, Seat

GROUP = "db"
LEASE = 6.0
BEAT = 1.0
NAMES = ("tokyo-a", "tokyo-b", "osaka")  # the last stands in
AGENTS = st.sampled_from(NAMES)


@dataclass
class Agent:
    """A process: what it believes, what it was answered and has not heard yet, what it has under way."""

    seat: Seat
    answers: list[DriverLease] = field(default_factory=list)
    orders: list[AbstractContextManager[None]] = field(default_factory=list)


def seat_of(name: str) -> Seat:
    return Seat(name, LEASE, BEAT, stands_in=name == NAMES[-1])


class Leases(RuleBasedStateMachine):
    tokens = Bundle("tokens")

    @initialize()
    def begin(self) -> None:
        self.now = 0.0
        self.drivers = Drivers(lambda: self.now)
        self.agents: dict[str, Agent] = {name: Agent(seat_of(name)) for name in NAMES}
        self.taken = 0

    @rule(seconds=st.floats(0.01, 2 * LEASE))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule(target=tokens, name=AGENTS, wanted=st.booleans())
    def claim(self, name: str, wanted: bool) -> str:
        """The claim arrives; its answer is still on its way."""
        agent = self.agents[name]
        answer = self.drivers.claim(GROUP, agent.seat.claim(self.now, wanted=wanted))
        agent.answers.append(answer)
        return answer.token or ""

    @rule(name=AGENTS)
    def hear(self, name: str) -> None:
        agent = self.agents[name]
        if agent.answers:
            agent.seat.answered(self.now, agent.answers.pop(0))

    @rule(name=AGENTS)
    def hear_nothing(self, name: str) -> None:
        self.agents[name].answers.clear()
        self.agents[name].seat.failed(self.now)

    @rule(name=AGENTS, delay=st.floats(0, LEASE / 2))
    def look(self, name: str, delay: float) -> None:
        """With the token that the agent has; nobody is refused, and only the driver's lease lasts longer."""
        seat, asked = self.agents[name].seat, self.now
        before = self.drivers.holder(GROUP)
        self.drivers.looked(GROUP, seat.token)
        assert self.drivers.holder(GROUP) in (before, name)
        self.now += delay
        seat.looked(asked, self.drivers.holder(GROUP))
        if seat.place is Place.DRIVES and self.drivers.holder(GROUP) != name:
            assert seat.rest_seconds(self.now) == 0

    @rule(name=AGENTS)
    def give_order(self, name: str) -> None:
        """With the token that the agent has, believing what it may."""
        agent = self.agents[name]
        order = self.drivers.order(GROUP, agent.seat.token)
        try:
            order.__enter__()
        except ConflictError:
            agent.seat.refused()
            return
        agent.orders.append(order)
        self.taken += 1

    @rule(name=AGENTS)
    def work(self, name: str) -> None:
        """A claim with its answer, and an order at once."""
        self.claim(name, wanted=True)
        self.agents[name].answers, answers = [], self.agents[name].answers
        self.agents[name].seat.answered(self.now, answers[-1])
        self.give_order(name)

    @rule(name=AGENTS, token=tokens)
    def give_late_order(self, name: str, token: str) -> None:
        """An order of any earlier time arrives only now."""
        try:
            with self.drivers.order(GROUP, token):
                assert self.drivers.claim(GROUP, self.agents[name].seat.claim(self.now)).driver is not None
        except ConflictError:
            return

    @rule(name=AGENTS)
    def end_order(self, name: str) -> None:
        if self.agents[name].orders:
            self.agents[name].orders.pop(0).__exit__(None, None, None)

    @rule(name=AGENTS)
    def die_and_return(self, name: str) -> None:
        """Its orders go on at the controller; the new process knows nothing."""
        self.agents[name].seat, self.agents[name].answers = seat_of(name), []

    @rule()
    def restart_controller(self) -> None:
        """What it was carrying out ended with it."""
        for agent in self.agents.values():
            agent.orders.clear()
        self.drivers = Drivers(lambda: self.now)

    @invariant()
    def orders_of_one_agent_at_most(self) -> None:
        at_work = [name for name, agent in getattr(self, "agents", {}).items() if agent.orders]
        assert len(at_work) <= 1, at_work

    def teardown(self) -> None:
        """The faults end: two claims of everybody later, spread over time, one agent of the site drives."""
        if not hasattr(self, "agents"):
            return
        for name, agent in self.agents.items():
            agent.answers.clear()
            while agent.orders:
                self.end_order(name)
        for _ in range(40):
            self.now += BEAT / 2
            for agent in self.agents.values():
                if agent.seat.rest_seconds(self.now) <= 0:
                    agent.seat.answered(self.now, self.drivers.claim(GROUP, agent.seat.claim(self.now)))
        driving = [name for name, agent in self.agents.items() if agent.seat.place is Place.DRIVES]
        assert len(driving) == 1, driving
        assert driving != [NAMES[-1]]


TestLeases = Leases.TestCase
TestLeases.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_stand_in_waits_out_a_lease_and_gives_back_at_once() -> None:
    now = 100.0
    drivers = Drivers(lambda: now)
    stand_in, host = seat_of("osaka"), seat_of("tokyo-a")

    def ask(seat: Seat) -> Place:
        seat.answered(now, drivers.claim(GROUP, seat.claim(now)))
        return seat.place

    assert ask(stand_in) is Place.STANDS_BY  # free, but for how long?
    now += LEASE - 0.1
    assert ask(stand_in) is Place.STANDS_BY
    now += 0.2
    assert ask(stand_in) is Place.DRIVES
    old = stand_in.token
    assert ask(host) is Place.DRIVES
    with pytest.raises(ConflictError, match="driven by tokyo-a"), drivers.order(GROUP, old):
        pass
    assert ask(stand_in) is Place.STANDS_BY
    now += 2 * LEASE
    assert ask(host) is Place.DRIVES  # nobody wanted it meanwhile
    assert drivers.holder(GROUP) == "tokyo-a"
    drivers.release(GROUP, "tokyo-a")
    assert drivers.holder(GROUP) is None
    assert ask(seat_of("tokyo-b")) is Place.DRIVES


def test_what_a_stand_in_cannot_reach_it_does_not_speak_for() -> None:
    drivers = Drivers(lambda: 0.0)
    stand_in = seat_of("osaka")
    stand_in.answered(0.0, drivers.claim(GROUP, stand_in.claim(0.0, wanted=True)))
    assert stand_in.token != NO_TOKEN
    stand_in.failed(1.0)
    assert stand_in.token == NO_TOKEN
    assert stand_in.place is Place.STANDS_BY
    host = seat_of("tokyo-a")
    host.failed(1.0)
    assert host.place is Place.UNKNOWN


def test_a_driver_that_looks_keeps_its_lease_without_a_claim() -> None:
    now = 0.0
    drivers = Drivers(lambda: now)
    seat, other = seat_of("tokyo-a"), seat_of("tokyo-b")
    seat.answered(now, drivers.claim(GROUP, seat.claim(now)))
    for _ in range(10):
        now += LEASE / 3
        assert seat.rest_seconds(now) > 0
        asked = now
        drivers.looked(GROUP, seat.token)
        seat.looked(asked, drivers.holder(GROUP))
        other.answered(now, drivers.claim(GROUP, other.claim(now)))
        assert other.place is Place.STANDS_BY
    now += LEASE / 2
    assert seat.rest_seconds(now) == 0  # it has not looked since
    now += LEASE
    other.answered(now, drivers.claim(GROUP, other.claim(now)))
    drivers.looked(GROUP, seat.token)  # a token of before renews nothing
    seat.looked(now, drivers.holder(GROUP))
    assert drivers.holder(GROUP) == "tokyo-b"
    assert seat.rest_seconds(now) == 0


def test_a_controller_that_does_not_renew_by_looks_is_claimed_at() -> None:
    """One of an older version."""
    seat = seat_of("tokyo-a")
    seat.answered(0.0, DriverLease(driver="tokyo-a", seconds_left=LEASE, token="t"))
    due = seat.rest_seconds(0.0)
    seat.looked(1.0, "tokyo-a")
    assert seat.rest_seconds(0.0) == due
