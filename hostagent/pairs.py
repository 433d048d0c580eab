"""Pairs: what is kept durably about each, and how their state may change.

Owns `pairs.json` and the table of state changes. The state of a pair is never
stored: `hostagent/copy_manager/facts.py` sees it in what both controllers say, and this
table says which change is possible and which command is allowed.
"""

from __future__ import annotations

import threading
from enum import StrEnum
from pathlib import Path
from typing import Final

from controller.errors import ConflictError, NotDurableError, NotFoundError
from hostagent import documents
from hostagent.api.models import Pair, PairState
from hostagent.limit import newest_limit


class PairEvent(StrEnum):
    """What happens to a pair: observations (facts of both sides), then commands."""

    ABSENT = "absent"
    COPYING = "copying"
    PROTECTED = "protected"
    FILLING = "filling"
    STOPPED = "stopped"
    SUSPENDED = "split by an operator"
    FULL = "full"
    FAILED = "failed"
    TAKEN_OVER = "taken over"

    CREATE = "create"
    DELETE = "delete"
    TAKE_OVER = "take over"
    START = "start acquisition of"
    STOP = "stop acquisition of"
    COPY = "copy journals of"
    RESTORE = "restore journals of"
    PURGE = "purge journals of"
    SPLIT = "split"
    RESYNC = "resync"
    SWAP = "swap"
    VERIFY = "verify"
    MARK = "put a marker into"
    DRILL = "start a drill of"


_S = PairState
_E = PairEvent

_SEEN: Final = {
    _E.COPYING: _S.COPY,
    _E.PROTECTED: _S.PAIR,
    _E.FILLING: _S.PFUL,
    _E.STOPPED: _S.PSUS,
    _E.SUSPENDED: _S.PSUS,
    _E.FULL: _S.PFUS,
    _E.FAILED: _S.PSUE,
    _E.TAKEN_OVER: _S.SSWS,
}
_FOLLOWED: Final = (_S.COPY, _S.PAIR, _S.PFUL, _S.PSUS, _S.PFUS, _S.PSUE)
_UNCHANGED: Final = (_E.START, _E.STOP, _E.COPY, _E.RESTORE, _E.PURGE)

# A change that is not here cannot happen. A pair that was taken over stays so until its direction is decided: turned by
# a swap, or kept by a resync, it begins anew as COPY. A pair that does not exist is only created.
TRANSITIONS: Final[dict[tuple[PairState, PairEvent], PairState]] = {
    (_S.SMPL, _E.ABSENT): _S.SMPL,
    (_S.SMPL, _E.CREATE): _S.COPY,
    **{(_S.SMPL, event): state for event, state in _SEEN.items()},
    **{(state, event): after for state in _FOLLOWED for event, after in _SEEN.items()},
    (_S.SSWS, _E.TAKEN_OVER): _S.SSWS,
    **{(state, _E.ABSENT): _S.SMPL for state in (*_FOLLOWED, _S.SSWS)},
    **{(state, _E.DELETE): _S.SMPL for state in (*_FOLLOWED, _S.SSWS)},
    **{(state, _E.TAKE_OVER): _S.SSWS for state in (*_FOLLOWED, _S.SSWS)},
    **{(state, event): state for state in _FOLLOWED for event in _UNCHANGED},
    **{(state, event): state for state in _FOLLOWED for event in (_E.MARK, _E.DRILL)},
    **{(state, _E.SPLIT): _S.PSUS for state in (_S.PAIR, _S.PFUL, _S.PSUS)},
    **{(state, _E.RESYNC): _S.COPY for state in (_S.COPY, _S.PSUS, _S.PFUS, _S.PSUE)},
    **{(state, _E.RESYNC): state for state in (_S.PAIR, _S.PFUL)},  # nothing differs: given again, it is done
    **{(state, _E.VERIFY): state for state in (_S.PAIR, _S.PFUL)},
    (_S.SSWS, _E.SWAP): _S.COPY,
    (_S.SSWS, _E.RESYNC): _S.COPY,
    **{(state, _E.SWAP): state for state in (_S.COPY, _S.PAIR, _S.PFUL)},  # only when it was swapped: life/direction.py
}


def next_state(state: PairState, event: PairEvent, group: str = "") -> PairState:
    """The state after `event`; ConflictError when that cannot happen in `state`."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise ConflictError(
            f"cannot {event} {group or 'a pair'}: it is {state}"
            if event in _COMMANDS
            else f"{group or 'a pair'} went from {state} to {event}, which cannot happen",
            hint=_COMMAND_HINTS.get((state, event), _HINTS.get(state, 'See "pairvol pair status {group}".')).format(
                group=group or "GROUP"
            ),
            group=group,
            state=state.value,
            event=event.value,
        ) from None


def refuse_taken_over(pair: Pair, event: PairEvent) -> None:
    """ConflictError when the pair was taken over and `event` cannot happen then; no site need be asked for that."""
    if pair.taken_over:
        next_state(PairState.SSWS, event, pair.group)


_COMMANDS: Final = (
    _E.CREATE,
    _E.DELETE,
    _E.TAKE_OVER,
    _E.SPLIT,
    _E.RESYNC,
    _E.SWAP,
    _E.VERIFY,
    _E.MARK,
    _E.DRILL,
    *_UNCHANGED,
)
_HINTS: Final = {
    _S.SMPL: 'Create it with "pairvol pair create".',
    _S.SSWS: "The secondary site is in use as primary; pair again in the other direction with "
    '"pairvol pair resync {group} --swap", in the old one, without what it wrote, with "pairvol pair resync {group}", '
    'or end the pair with "pairvol pair delete {group}".',
}
_FIRST: Final = 'Bring it back in step with "pairvol pair resync {group}", then "pairvol pair takeover {group}".'
_BACK: Final = 'Bring it back in step first, with "pairvol pair resync {group}".'
_COMMAND_HINTS: Final = {
    (_S.COPY, _E.SPLIT): 'Wait with "pairvol pair wait {group} --state PAIR".',
    (_S.PFUS, _E.SPLIT): _BACK,
    (_S.PSUE, _E.SPLIT): 'Mend what "pairvol pair status {group}" names first.',
    (_S.COPY, _E.VERIFY): 'Wait with "pairvol pair wait {group} --state PAIR".',
    (_S.PSUS, _E.VERIFY): _BACK,
    (_S.PFUS, _E.VERIFY): _BACK,
    (_S.PSUE, _E.VERIFY): 'Mend what "pairvol pair status {group}" names first.',
    (_S.PSUS, _E.SWAP): _FIRST,
    (_S.PFUS, _E.SWAP): _FIRST,
    (_S.PSUE, _E.SWAP): 'Only a pair that was taken over is swapped; see "pairvol pair status {group}".',
}


class PairStore:
    """The pairs of one agent, in memory and in `pairs.json`. Threads may share it; durable when a call returns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        pairs = documents.read(path, "pairs", list[Pair], "ask for help")
        self._pairs: dict[str, Pair] = {pair.group: pair for pair in pairs or []}
        self._certain = False  # that the document of now survives a power cut: who wrote it may have died before

    def all(self) -> list[Pair]:
        with self._lock:
            return [self._pairs[group] for group in sorted(self._pairs)]

    def find(self, group: str) -> Pair | None:
        with self._lock:
            return self._pairs.get(group)

    def get(self, group: str) -> Pair:
        pair = self.find(group)
        if pair is None:
            raise NotFoundError(
                f"no pair named {group}", hint='See "pairvol pair list", or create it with "pairvol pair create".'
            )
        return pair

    def put(self, pair: Pair) -> None:
        """Keep `pair`; one of the same group is replaced.

        A lower generation, or an older limit, of the same pair is never written.
        """
        with self._lock:
            known = self._pairs.get(pair.group)
            if (
                known is not None
                and known.uuid == pair.uuid
                and (known.turns, known.generation)
                > (
                    pair.turns,
                    pair.generation,
                )
            ):
                raise ConflictError(
                    f"cannot keep {pair.group}: generation {pair.generation} is below {known.generation}",
                    hint="An agent with old information is at work; it learns the newer generation by itself.",
                )
            pair = newest_limit(pair, known)
            if known != pair or not self._certain:
                self._write(self._pairs | {pair.group: pair})

    def remove(self, group: str) -> None:
        """Durable when this returns; one that is not kept is no error."""
        with self._lock:
            if group in self._pairs or not self._certain:
                self._write({name: pair for name, pair in self._pairs.items() if name != group})

    def _write(self, pairs: dict[str, Pair]) -> None:
        try:
            documents.write(self._path, "pairs", [pair.model_dump(mode="json") for pair in pairs.values()])
        except NotDurableError:
            self._pairs, self._certain = pairs, False  # what a restart finds is in force
            raise
        self._pairs, self._certain = pairs, True
