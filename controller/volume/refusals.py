"""What a volume server says when it writes no journal: which rule forbids what was ordered, and the command that helps.

A server does not know what its group is called, since that of a volume becomes
that of the group which it joins. `{group}` stands for the name in messages and
hints; the controller, which knows it, puts it there (controller/serving.py).
"""

from __future__ import annotations

from typing import Final

from controller.api.words import AcquisitionMode
from controller.errors import ConflictError, PairvolError

GROUP: Final = "{group}"
START_HINT: Final = 'Start acquisition first: "pairvol journal start {group}".'
BACK_HINT: Final = 'Bring the pair back in step first: "pairvol pair resync {group}".'
WAIT_HINT: Final = 'Wait first: "pairvol pair wait {group} --state PAIR".'
LOOK_HINT: Final = 'Mend what "pairvol pair status {group}" names first.'

_REASONS: Final = {
    AcquisitionMode.DIRECT: ("acquisition is stopped", START_HINT),
    AcquisitionMode.SUSPENDED: ("changed regions are tracked instead", BACK_HINT),
    AcquisitionMode.FAILED: ("a disk refused", LOOK_HINT),
    AcquisitionMode.JOURNAL: ("the journal's disk refused", LOOK_HINT),
}


def no_journal(refused: str, mode: AcquisitionMode) -> ConflictError:
    """`refused` is how the message begins: what cannot be done."""
    reason, hint = _REASONS[mode]
    return ConflictError(f"{refused}: no journal is written, {reason}", hint=hint)


def named(error: PairvolError, group: str) -> PairvolError:
    """The same error with the group's name."""
    message, hint = error.message.replace(GROUP, group), error.hint.replace(GROUP, group)
    return type(error)(message, hint=hint, **error.facts)
