"""The record of a group's in-band run: what was ordered, how far it is, how it ended.

Owns one small document, which the group's volume server writes. How far a run
is, is written only after the journals that it speaks of are durable.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import Field, ValidationError

from controller import durable
from controller.api.runs import Range, RunOrder, RunPhase, RunState
from controller.errors import IntegrityError, NotFoundError
from controller.inband.walk import Walk


class _Document(RunState):
    generation: int
    ranges: list[Range] = Field(default_factory=list)


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run with its ranges, under the generation of the primary that carries it out."""

    state: RunState
    ranges: tuple[Range, ...]
    generation: int

    @classmethod
    def begin(cls, order: RunOrder, ranges: list[Range], generation: int) -> RunRecord:
        state = RunState(
            run=order.run,
            task=order.task or order.run,
            kind=order.kind,
            repair=order.repair,
            round=order.round,
            phase=RunPhase.RUNNING,
            bytes_done=0,
            bytes_total=Walk(ranges).bytes_total,
            started_ns=time.time_ns(),
        )
        return cls(state, tuple(ranges), generation)

    @property
    def running(self) -> bool:
        return self.state.phase is RunPhase.RUNNING

    def changed(self, **facts: object) -> RunRecord:
        return replace(self, state=self.state.model_copy(update=facts))

    def of_generation(self, generation: int) -> RunRecord:
        """The record as it is worth under a generation: another primary's run never ends."""
        if self.generation == generation or self.state.phase is RunPhase.DONE:
            return self
        return self.changed(phase=RunPhase.INTERRUPTED)


def load(path: Path) -> RunRecord | None:
    """The record of that path, None when there never was a run; IntegrityError when it cannot be read."""
    try:
        document = _Document.model_validate(durable.read_json(path))
    except NotFoundError:
        return None
    except ValidationError as error:
        raise IntegrityError(
            f"record of a run in {path} cannot be read: {error.errors()[0]['msg'].lower()}",
            hint="Remove that file; then order the run again.",
            path=str(path),
        ) from error
    fields = document.model_dump(exclude={"generation", "ranges"})
    ranges = tuple(Range(*each) for each in document.ranges)
    return RunRecord(RunState.model_validate(fields), ranges, document.generation)


def store(path: Path, record: RunRecord) -> None:
    """Durable when this returns."""
    document = record.state.model_dump(mode="json") | {"generation": record.generation, "waits": None}
    durable.write_json(path, document | {"ranges": [list(each) for each in record.ranges]})
