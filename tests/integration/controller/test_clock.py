"""A real controller on a machine whose clock is set says so, and goes on."""

from __future__ import annotations

from pathlib import Path

from tests.support.clocks import set_clock
from tests.support.controllers import ControllerProcess
from tests.support.processes import Processes


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
                event = tokyo.wait_event("clock.step", step_seconds=float(seconds))
                assert abs(event.facts["now_ns"] - event.facts["before_ns"] - seconds * 10**9) < 10**8
        finally:
            tokyo.stop()
