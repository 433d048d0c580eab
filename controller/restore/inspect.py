"""What restore meets in band of the primary's runs: digests to compare, and how far a run is.

Owns `verify.json` of the group: which ranges of the SVOLs were found different
from the PVOLs, each at the sequence of its digest. A marker is looked at when
exactly the journals before it are applied; what it showed is durable before
already_restored passes it (`store`), so none is looked at by nobody.

A difference is listed as unsure when the SVOL may be ahead of the journals
applied (restore was cut off and repeats), or is no state of the PVOL at all
(a copy is under way). Later digests of the same task take ranges off again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from controller import durable
from controller.api.runs import Found, RunKind, VerifyState
from controller.api.shape import first_mistake
from controller.errors import IntegrityError, NotFoundError
from controller.inband import findings
from controller.inband.digests import Digest, differing, number_in
from controller.journal.markers import MarkerKind
from controller.restore.targets import Targets, refused
from controller.units import format_size
from controller.volume.backing import Backing

SAVE_SECONDS: Final = 1.0
RUN_MARKERS: Final = frozenset((MarkerKind.RUN_BEGUN, MarkerKind.RUN_AT, MarkerKind.DIGEST, MarkerKind.RUN_ENDED))

OnRun = Callable[[str, int, int | None], None]
"""(run, bytes done, sequence of its end or None): a run was passed so far."""
OnEvent = Callable[[str, str, str, dict[str, Any]], None]
"""As in controller/copy/loop.py."""


class Inspector:
    """Of one open secondary group; for the restore thread. Any thread may read `state`.

    `comparable` says whether the SVOLs are what the PVOLs were after a
    sequence, once everything up to it is applied.
    """

    def __init__(
        self,
        path: Path,
        targets: Targets,
        comparable: Callable[[int], bool],
        on_run: OnRun,
        on_event: OnEvent = lambda level, name, message, facts: None,
    ) -> None:
        self._path = path
        self._targets = targets
        self._comparable = comparable
        self._on_run = on_run
        self._on_event = on_event
        self._runs: dict[str, tuple[int, int | None]] = {}  # passed since the last `store`
        self._due = False  # something that must be durable before restore is said to have passed it
        self._saved_at = 0.0
        self.state = _load(path)
        self._kept = self.state

    def since(self, sequence: int) -> VerifyState | None:
        """What was found, as far as it is not of volumes that were copied anew, whole, up to a sequence."""
        state = self.state
        if state is not None and state.ended and state is not self._kept:
            state = state.model_copy(update={"ended": False})  # a result that is not durable is none
        if state is None or not any(each.sequence < sequence for each in (*state.different, *state.unsure)):
            return state
        different, unsure = (
            [each for each in kind if each.sequence >= sequence] for kind in (state.different, state.unsure)
        )
        sizes = {"different_bytes": findings.bytes_of(different), "unsure_bytes": findings.bytes_of(unsure)}
        return state.model_copy(update={"different": different, "unsure": unsure, **sizes})

    def reset(self) -> None:
        """Restore goes back to its durable point."""
        self.state, self._runs, self._due = self._kept, {}, False

    def pass_marker(self, sequence: int, content: dict[str, Any], ahead: bool) -> None:
        """A marker of a run, everything before it applied; `ahead`: the SVOLs may hold later journals too.

        Called with the volumes' lock held. OSError does not leave: a volume
        that cannot be read is a StorageError.
        """
        try:
            self._pass(sequence, content, ahead)
        except (KeyError, ValueError) as error:
            words = first_mistake(error) if isinstance(error, ValidationError) else repr(error)
            raise IntegrityError(
                f"marker {sequence} of a run cannot be understood: {words:.200}",
                hint="Nothing at or after it was restored. Do both sites run the same version?",
                sequence=sequence,
            ) from error

    def _pass(self, sequence: int, content: dict[str, Any], ahead: bool) -> None:
        run, what = str(content["run"]), content["what"]
        if what == MarkerKind.DIGEST:
            self._compare(sequence, run, Digest.of(content), ahead)
            return
        done = number_in(content, "bytes_done") if "bytes_done" in content else 0
        ended = what == MarkerKind.RUN_ENDED
        self._runs[run] = (done, sequence if ended else None)
        if what == MarkerKind.RUN_BEGUN and content.get("kind") != RunKind.BASE:
            self._begun(sequence, run, content)
        elif ended and self.state is not None and self.state.run == run:
            self._change(ended=True, sequence=sequence, bytes_done=self.state.bytes_total)
            self._due = True

    def store(self) -> None:
        """What was seen so far becomes durable, as far as it must."""
        runs, self._runs = self._runs, {}
        for run, (done, ended) in runs.items():
            self._on_run(run, done, ended)
        if self.state is not self._kept and (self._due or time.monotonic() - self._saved_at >= SAVE_SECONDS):
            assert self.state is not None
            durable.write_json(self._path, self.state.model_dump(mode="json"))
            kept, state = self._kept, self.state
            ended = state.ended and (kept is None or (kept.run, kept.ended) != (state.run, True))
            self._kept, self._due, self._saved_at = self.state, False, time.monotonic()
            if ended:
                self._tell(self.state)

    def _tell(self, state: VerifyState) -> None:
        facts = {"task": state.task, "different_bytes": state.different_bytes, "unsure_bytes": state.unsure_bytes}
        facts |= {"sequence": state.sequence, "repaired_bytes": state.repaired_bytes}
        words, what = "nothing differs", ("info", "verify.done")
        if state.different:
            words, what = f"{format_size(state.different_bytes)} differ from the primary", ("error", "verify.different")
        elif state.unsure:
            words, what = f"{format_size(state.unsure_bytes)} could not be compared", ("warning", "verify.unsure")
        self._on_event(*what, f"verify up to {state.sequence}: {words}", facts)

    def _begun(self, sequence: int, run: str, content: dict[str, Any]) -> None:
        """A run of the same task goes on with what the task found so far."""
        task, total = str(content.get("task")), number_in(content, "bytes_total")
        known = self.state
        if known is None or known.task != task:
            known = VerifyState(task=task, run=run, kind=RunKind(content["kind"]), bytes_verified=total)
        facts = {"run": run, "kind": RunKind(content["kind"]), "ended": False, "sequence": sequence}
        self.state = known.model_copy(update={**facts, "bytes_done": 0, "bytes_total": total})
        self._due = True

    def _compare(self, sequence: int, run: str, digest: Digest, ahead: bool) -> None:
        state = self.state
        if state is None or state.run != run:
            return  # of a run whose beginning this site never had
        volume, offset, length = digest.volume, digest.offset, digest.length
        parts = self._differing(digest)
        sure = not parts or (not ahead and self._comparable(sequence - 1))
        found = [Found(volume, offset + start, count, sequence) for start, count in parts]
        repaired = findings.bytes_of(findings.within(state.different, volume, offset, length))
        different = findings.without(state.different, volume, offset, length)
        unsure = findings.without(state.unsure, volume, offset, length)
        if different != state.different or unsure != state.unsure or found:
            self._due = True
        if sure:
            different = findings.joined(different, found)
        else:
            unsure = findings.joined(unsure, found)
            different = findings.joined(different, findings.within(state.different, volume, offset, length))
        gone = max(0, repaired - findings.bytes_of(found)) if sure and state.kind is RunKind.REPAIR else 0
        self._change(
            sequence=sequence,
            bytes_done=digest.bytes_done,
            different=different,
            unsure=unsure,
            different_bytes=findings.bytes_of(different),
            unsure_bytes=findings.bytes_of(unsure),
            repaired_bytes=state.repaired_bytes + gone,
        )

    def _differing(self, digest: Digest) -> list[tuple[int, int]]:
        backing = self._targets.backings.get(digest.volume)
        if backing is None:
            return []  # it left the group
        if digest.offset + digest.length > backing.size_bytes:
            return [(0, digest.length)]
        try:
            if digest.digests:
                return differing(_read(backing, digest.offset, digest.length), digest.digests, digest.unit)
            found: list[tuple[int, int]] = []
            for start, count, is_data in backing.extents(digest.offset, digest.length):
                if is_data:
                    found += _not_zero(backing, start, count, digest.offset, digest.unit)
            return found
        except OSError as error:
            raise refused(backing, error) from error

    def _change(self, **facts: object) -> None:
        assert self.state is not None
        self.state = self.state.model_copy(update=facts)


def _read(backing: Backing, offset: int, length: int) -> memoryview:
    """What the disk holds, not what memory remembers of it, as far as it was synced."""
    os.posix_fadvise(backing.file, offset, length, os.POSIX_FADV_DONTNEED)
    content = memoryview(bytearray(length))
    backing.pread_into(content, offset)
    return content


def _not_zero(backing: Backing, start: int, count: int, origin: int, unit: int) -> list[tuple[int, int]]:
    """Parts of an allocated area that do not read as zeros, from `origin` on."""
    found: list[tuple[int, int]] = []
    for at in range(start, start + count, unit):
        length = min(unit, start + count - at)
        if any(_read(backing, at, length)):
            found.append((at - origin, length))
    return found


def _load(path: Path) -> VerifyState | None:
    try:
        state = VerifyState.model_validate(durable.read_json(path))
    except NotFoundError:
        return None
    except ValidationError as error:
        raise IntegrityError(
            f"results of a verify in {path} cannot be read: {error.errors()[0]['msg'].lower()}",
            hint="Remove that file; then verify the pair again.",
            path=str(path),
        ) from error
    lists = {name: [Found(*each) for each in getattr(state, name)] for name in ("different", "unsure")}
    return state.model_copy(update=lists)
