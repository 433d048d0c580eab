"""Restore that is held for images: nothing of what arrives is applied, and all of it afterwards."""

from __future__ import annotations

from pathlib import Path

from controller.journal.pointers import Pointer, PointerPage
from controller.restore.gate import RestoreGate
from controller.restore.program import RestoreProgram
from controller.restore.targets import Targets
from tests.unit.copy.parts import Primary, block, content, svol

VOLUME_BYTES = 1 << 20


def test_a_held_restore_applies_nothing_and_settles_what_it_had_applied(tmp_path: Path) -> None:
    primary = Primary(tmp_path / "journal", 4 << 20, {0: VOLUME_BYTES})
    pointers = PointerPage.create(str(tmp_path / "pointers"))
    backing = svol(tmp_path / "svol", VOLUME_BYTES)
    try:
        gate = RestoreGate()
        program = RestoreProgram(primary.journal, pointers, Targets({0: backing}), gate=gate)
        first = primary.write(0, 0, block(1, 4))
        assert program.step(first)
        gate.held = True
        moment = bytes(primary.volumes[0])
        last = primary.write(0, 2, block(2, 4))
        assert not program.step(last)
        program.settle()
        assert pointers.read(Pointer.ALREADY_RESTORED).sequence == first
        assert pointers.read(Pointer.RESTORE_SCHEDULED).sequence == first
        assert content(backing) == moment
        gate.held = False
        assert program.step(last)
        assert content(backing) == bytes(primary.volumes[0])
    finally:
        backing.close()
        pointers.close()
        primary.close()
