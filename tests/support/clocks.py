"""The clock of a program under test: a file that says by how many nanoseconds it is ahead of the machine's."""

from __future__ import annotations

from pathlib import Path


def set_clock(clock: Path, ahead_ns: int) -> None:
    """In one step: the program reads the file at any moment."""
    written = clock.with_name(f"{clock.name}.new")
    written.write_text(str(ahead_ns))
    written.rename(clock)
