"""What a copy or restore thread is doing, and what may happen to it.

| state | event | then | what it means |
|---|---|---|---|
| idle | ordered, explicit | running | there is something to do |
| running, backing off | done | idle | the lease ended, or the order is fulfilled |
| running | link lost | backing off | tried again by itself every 0.1 to 1 s |
| backing off | link back | running | |
| backing off | explicit | running | tried at once |
| running, backing off | fault | failed | integrity, storage or capacity: named, nothing skipped |
| failed | ordered | failed | a renewed order is no reason to believe a disk that refused |
| failed | retry | running | what arrived wrong over the wire is read again now and then, until it is right |
| failed | explicit | running | a person, or a changed source, asks for another try from the durable point |
| any | halt | halted | the group is closed or taken over |

An explicit order is a copy of mode "once", a restore request, an initial copy
order, or a "follow" order whose source is not the one that failed.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Activity(StrEnum):
    IDLE = "idle"
    RUNNING = "running"
    BACKING_OFF = "backing_off"
    FAILED = "failed"
    HALTED = "halted"


class Happening(StrEnum):
    ORDERED = "ordered"
    EXPLICIT = "explicit"
    DONE = "done"
    LINK_LOST = "link_lost"
    LINK_BACK = "link_back"
    FAULT = "fault"
    RETRY = "retry"
    HALT = "halt"


TRANSITIONS: Final[dict[tuple[Activity, Happening], Activity]] = {
    (Activity.IDLE, Happening.ORDERED): Activity.RUNNING,
    (Activity.IDLE, Happening.EXPLICIT): Activity.RUNNING,
    (Activity.IDLE, Happening.HALT): Activity.HALTED,
    (Activity.RUNNING, Happening.ORDERED): Activity.RUNNING,
    (Activity.RUNNING, Happening.EXPLICIT): Activity.RUNNING,
    (Activity.RUNNING, Happening.DONE): Activity.IDLE,
    (Activity.RUNNING, Happening.LINK_LOST): Activity.BACKING_OFF,
    (Activity.RUNNING, Happening.FAULT): Activity.FAILED,
    (Activity.RUNNING, Happening.HALT): Activity.HALTED,
    (Activity.BACKING_OFF, Happening.ORDERED): Activity.BACKING_OFF,
    (Activity.BACKING_OFF, Happening.EXPLICIT): Activity.RUNNING,
    (Activity.BACKING_OFF, Happening.DONE): Activity.IDLE,
    (Activity.BACKING_OFF, Happening.LINK_LOST): Activity.BACKING_OFF,
    (Activity.BACKING_OFF, Happening.LINK_BACK): Activity.RUNNING,
    (Activity.BACKING_OFF, Happening.FAULT): Activity.FAILED,
    (Activity.BACKING_OFF, Happening.HALT): Activity.HALTED,
    (Activity.FAILED, Happening.ORDERED): Activity.FAILED,
    (Activity.FAILED, Happening.EXPLICIT): Activity.RUNNING,
    (Activity.FAILED, Happening.RETRY): Activity.RUNNING,
    (Activity.FAILED, Happening.HALT): Activity.HALTED,
    (Activity.HALTED, Happening.DONE): Activity.HALTED,
    (Activity.HALTED, Happening.HALT): Activity.HALTED,
}


def after(activity: Activity, happening: Happening) -> Activity:
    """The state that follows; a pair that the table does not have is a mistake in the program."""
    return TRANSITIONS[activity, happening]
