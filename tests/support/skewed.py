"""A controller on a machine whose clock is set: python -m tests.support.skewed CONFIG

Its clock runs ahead by the nanoseconds in the file `clock` beside CONFIG.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from controller import clock, daemon

if __name__ == "__main__":
    offset = Path(sys.argv[1]).with_name("clock")
    honest = time.time_ns
    setattr(time, "time_ns", lambda: honest() + int(offset.read_text()))  # noqa: B010
    setattr(clock.ClockWatch.__init__, "__defaults__", (None, clock.steady_ns, 0.05))  # noqa: B010
    daemon.run(sys.argv[1])
