"""A real controller on a machine whose clock is set says so, and goes on."""

from __future__ import annotations

from pathlib import Path

from controller.api.models import Event
from tests.support.clocks import set_clock
from tests.support.controllers import ControllerProcess
from tests.support.processes import Processes
from tests.support.waiting import wait_until


def test_a_step_of_the_clock_is_an_event(directory: Path) -> None:
    with Processes(directory / "logs") as processes:
        tokyo = ControllerProcess(processes, directory / "tokyo", "tokyo")
        tokyo.program = "tests.support.skewed", ""
        clock = tokyo.config.with_name("clock")
        set_clock(clock, 0)
        try:
            tokyo.start()
            for seconds in (-3600, 31_536_000):
                before = int(clock.read_text())
                set_clock(clock, before + seconds * 10**9)
                event = _step(tokyo, seconds)
                assert abs(event.facts["now_ns"] - event.facts["before_ns"] - seconds * 10**9) < 10**8
        finally:
            tokyo.stop()


def _step(controller: ControllerProcess, seconds: int) -> Event:
    """The event of a step about that long: on a busy machine a moment passes between the looks at two clocks."""

    def found() -> Event | None:
        steps = (event for event in controller.client.events() if event.name == "clock.step")
        return next((step for step in steps if abs(step.facts["step_seconds"] - seconds) < 0.1), None)

    event = wait_until(found, what=f"the step of {seconds} s to be told")
    assert event is not None
    return event
