"""The copy and restore programs of a site that is secondary: journals, copies of regions, the safe point."""

from __future__ import annotations

import random

from controller.api.models import CopyState, Role, SplitMode
from tests.simulation.commands.site import SiteBase
from tests.simulation.timeline import ViolationError


class Copying(SiteBase):
    """Some moments of both programs at a time."""

    def work(self, now: float, other: SiteBase, link_up: bool, chance: random.Random) -> None:
        if not self.up or self.role is not Role.SECONDARY:
            return
        follows = self.source is not None and now < self.order_ends
        if follows or self.state_of_copy is CopyState.RUNNING:
            self.link_ok = link_up and other.role in (Role.PRIMARY, Role.FENCED)
        if link_up:
            self.contact = now
            if follows:
                self._pull(other, chance)
            self._copy_window(other)
        goal = self.read if follows else min(self.urged, self.read)
        self._restore(min(goal, self.restored + chance.randint(0, 20)))
        self._begin_pending()

    def _pull(self, other: SiteBase, chance: random.Random) -> None:
        assert self.source is not None
        if other.role not in (Role.PRIMARY, Role.FENCED) or other.generation != self.source[1]:
            return
        mine, theirs = self.journals.get(self.read), other.journals.get(self.read)
        if mine is not None and theirs is not None and mine != theirs:
            raise ViolationError(f"{self.name} follows a journal that differs from its own at {self.read}")
        for sequence in range(self.read + 1, min(other.newest, self.read + chance.randint(1, 20)) + 1):
            if sequence <= other.confirmed:
                raise ViolationError(f"journal {sequence} was purged before {self.name} had it")
            self.journals[sequence] = other.journals[sequence]
            self.read = sequence

    def _copy_window(self, other: SiteBase) -> None:
        if self.state_of_copy is not CopyState.RUNNING or self.pending or self.split is not SplitMode.OFF:
            return
        if other.role is not Role.PRIMARY or other.generation != self.generation or other.awaits:
            return
        if self.whole:
            self.covers, self.whole = max(self.covers, other.newest), False
            self.skips = other.newest
        if self.todo:
            region = self.todo.pop()
            self.content[region] = other.content[region]
        else:
            self.state_of_copy, self.consistent = CopyState.DONE, other.newest

    @property
    def gate_closed(self) -> bool:
        own = self.map is not None and self.map.epoch != self.own_epoch
        return self.split is not SplitMode.OFF or own

    @property
    def barrier(self) -> int | None:
        markers = (n for n in range(self.restored + 1, self.read + 1) if self.journals[n].marker is not None)
        return next((sequence for sequence in markers if sequence > self.covers), None)

    def _restore(self, goal: int) -> None:
        if self.gate_closed or (self.state_of_copy is CopyState.NONE and self.pending is None):
            return
        barrier = self.barrier
        for sequence in range(self.restored + 1, min(goal, barrier - 1 if barrier else goal) + 1):
            journal = self.journals[sequence]
            if journal.marker is None and sequence > self.skips:
                self.content[journal.region] = journal.number
            self.restored = sequence
        self._settle()

    def _settle(self) -> None:
        if self.state_of_copy is not CopyState.DONE or self.consistent is None or self.restored < self.consistent:
            return
        self.check_prefix()
        if self.pending is None:
            self.safe = None
            if self.map is not None and self.map.epoch == self.own_epoch and self.split is SplitMode.OFF:
                self.map = self.own_epoch = None

    def check_prefix(self) -> None:
        """What is called consistent must be what the primary held at that journal."""
        journal = self.journals.get(self.restored)
        held = self.truth.after.get((journal.generation, self.restored)) if journal is not None else None
        if held is not None and held != tuple(self.content) and not self.gate_closed:
            raise ViolationError(f"{self.name} is no prefix at journal {self.restored}: {self.content}, not {held}")

    def _begin_pending(self) -> None:
        """controller/copy/resync.py: safe point, everything up to the order restored, then the copy."""
        if self.pending is None or self.split is not SplitMode.OFF:
            return
        if self.state_of_copy is CopyState.DONE and self.consistent is not None and self.map is None:
            wanted, barred = max(self.pending.sequence, self.consistent), self.barrier == self.restored + 1
            if self.safe is None and self.restored < wanted and not barred:
                self.urged = max(self.urged, wanted)
                return
            if self.safe is None and self.restored >= self.consistent:
                self.check_prefix()
                self.safe = (self.restored, tuple(self.content))
        if self.restored < self.pending.sequence:
            self.consistent, self.covers = None, max(self.covers, self.pending.sequence)
            self.own_epoch = self.map.epoch if self.map is not None else None
            self.urged = max(self.urged, self.pending.sequence)
            return
        regions = set(self.truth.sets[self.pending.epoch])
        regions |= self.map.regions if self.map is not None else set()
        regions |= set(self.todo) if self.state_of_copy is CopyState.RUNNING else set()
        self.state_of_copy, self.todo, self.consistent = CopyState.RUNNING, sorted(regions), None
        self.copy_epoch, self.covers = self.pending.epoch, max(self.covers, self.pending.sequence + 1)
        self.own_epoch = self.map.epoch if self.map is not None else None
        self.pending = None
