"""Sizes, durations and times as people write and read them.

Owns parsing and printing only; inside the program a size is a count of bytes,
a duration is seconds, a time is UTC nanoseconds. `10G` and `10GiB` are both
binary (1024 based), as with every disk tool of Linux; `10GB` is decimal.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from typing import Final

from controller.errors import UsageError

NANOSECONDS: Final = 1_000_000_000

_POWERS: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgtp]?)(ib|b|)", re.IGNORECASE)
_DURATION_SECONDS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)", re.IGNORECASE)
_BINARY_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def parse_size(text: str) -> int:
    """Bytes in `10G`, `512MiB`, `1.5T`, `4096`, `10GB` (decimal); UsageError otherwise."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{text!r} is not a size", hint="Write a number and a unit, such as 10G or 512MiB.")
    number, letter, suffix = match.groups()
    base = 1000 if letter and suffix.lower() == "b" else 1024
    scale: int = base ** _POWERS[letter.lower()]
    # An integer stays exact, however large; a float would not.
    return int(float(number) * scale) if "." in number else int(number) * scale


def format_size(count: float) -> str:
    """`1.1 MiB`, `8 GiB`, `512 B`: at most one digit after the point."""
    value, unit = float(count), 0
    while abs(value) >= 1023.95 and unit < len(_BINARY_UNITS) - 1:
        value /= 1024
        unit += 1
    return f"{_short(value)} {_BINARY_UNITS[unit]}"


def parse_duration(text: str) -> float:
    """Seconds in `200ms`, `10s`, `15m`, `2h`, `1d`, `1w`, or a bare number of seconds."""
    stripped = text.strip()
    if re.fullmatch(r"\d+(\.\d+)?", stripped):
        return float(stripped)
    match = _DURATION.fullmatch(stripped)
    if match is None:
        raise UsageError(f"{text!r} is not a duration", hint="Write a number and a unit, such as 15m or 2h.")
    return float(match[1]) * _DURATION_SECONDS[match[2].lower()]


def format_duration(seconds: float) -> str:
    """`0.2 s`, `42 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    total = round(seconds)
    for size, unit, lower_size, lower_unit in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if total >= size:
            rest = total % size // lower_size
            return f"{total // size} {unit}" + (f" {rest} {lower_unit}" if rest else "")
    return f"{total} s"


def parse_time(text: str, now_ns: int | None = None) -> int:
    """UTC nanoseconds of an ISO 8601 time with zone, or of `-15m` before now.

    A time without zone is refused: two sites rarely agree on what it means.
    """
    stripped = text.strip()
    if stripped.startswith("-"):
        now = time.time_ns() if now_ns is None else now_ns
        return now - round(parse_duration(stripped[1:]) * NANOSECONDS)
    try:
        moment = datetime.fromisoformat(stripped)
    except ValueError as error:
        raise UsageError(
            f"{text!r} is not a time",
            hint="Write 2026-09-20T10:15:03Z, or -15m for a quarter of an hour ago.",
        ) from error
    if moment.tzinfo is None:
        raise UsageError(f"time {text!r} has no zone", hint=f"Add one: {stripped}Z, or {stripped}+02:00.")
    return _since_epoch(moment) * 1000


def format_time(time_ns: int) -> str:
    """`2026-09-20T10:15:03.200Z`."""
    moment = datetime.fromtimestamp(time_ns // NANOSECONDS, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{time_ns % NANOSECONDS // 1_000_000:03d}Z"


def _since_epoch(moment: datetime) -> int:
    """Microseconds since 1970, exactly (a float would lose the last digits)."""
    microseconds: int = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    return microseconds


def _short(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def plural(number: int | None, word: str) -> str:
    """The word as it follows that number: 1 journal, 2 journals."""
    return word if number == 1 else f"{word}s"


def counted(number: int, word: str) -> str:
    """`1 journal`, `2 journals`."""
    return f"{number} {plural(number, word)}"
