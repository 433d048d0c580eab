"""The lines of a pair's ledger file: shapes only.

| kind | when it is written |
|---|---|
| state | the state changed, or recording began anew |
| lag | at the end of a minute in which the secondary was behind; older ones are put together to hours, then days |
| takeover | this site took over |
| end | the agent ended in order |

A minute without a lag has no line: what a state line says goes on, and the lag was nothing. So an idle pair writes
nothing. Times are UTC nanoseconds of this host.

| killed | the next agent sees | and counts |
|---|---|---|
| while the pair was idle | the mark of the last look (marks.py) | up to that look; without marks, up to the last line |
| in a minute with a lag | the mark of the beginning of that minute | up to there |
| while a line was written | a cut line | without it; the next line begins after it |
| after a takeover, before its line | no line | it when the command is given again, with an RTO that is not known |
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, TypeAdapter

from controller.api.models import Count, Shape
from hostagent.api.history import TakeoverEntry
from hostagent.api.models import PairState


class StateLine(Shape):
    kind: Literal["state"] = "state"
    pair: str  # its uuid: a group's name may be used again
    at_ns: Count
    state: PairState
    recorded_until_ns: Count | None = None  # nothing is known from then on until `at_ns`; None: nothing is missing


class Spreading(Shape):
    """What a Spread counted."""

    max: float
    weights: dict[int, float]  # seconds by bucket: hostagent/history/spread.py


class LagLine(Shape):
    kind: Literal["lag"] = "lag"
    pair: str
    at_ns: Count
    until_ns: Count
    seconds: float  # of protected time that it speaks of
    lag_seconds: Spreading
    lag_bytes: Spreading


class TakeoverLine(Shape):
    kind: Literal["takeover"] = "takeover"
    pair: str
    at_ns: Count
    takeover: TakeoverEntry


class EndLine(Shape):
    kind: Literal["end"] = "end"
    pair: str
    at_ns: Count


Line = Annotated[StateLine | LagLine | TakeoverLine | EndLine, Field(discriminator="kind")]
LINE: Final[TypeAdapter[Line]] = TypeAdapter(Line)


def end_of(line: Line) -> int:
    """Up to when it tells of a pair."""
    return line.until_ns if isinstance(line, LagLine) else line.at_ns
