"""The agents' part in the life of a pair of controllers: resync, takeover, demotion, promotion, step by step."""

from __future__ import annotations

import random

from controller.api.lifecycle import DemoteOrder, DemoteResult, EpochOrder, PromoteOrder, ResyncOrder
from controller.api.models import ChangedRegions, CopyState, JournalState
from controller.errors import NotFoundError
from tests.support.controllers import ControllerProcess
from tests.support.nbdkit import connected
from tests.support.pairs import ControllerPair
from tests.support.waiting import wait_until

GROUP = ControllerPair.group


def scribble(uri: str, size: int, seed: int, writes: int = 100, start: int = 0) -> None:
    """Random writes, zeroes and trims from `start` on, then a flush."""
    dice = random.Random(seed)
    with connected(uri) as handle:
        for _ in range(writes):
            offset = start + dice.randrange((size - start) // 512) * 512
            length = min(dice.choice((512, 4096, 65536)), size - offset)
            roll = dice.random()
            if roll < 0.8:
                handle.pwrite(dice.randbytes(length), offset)
            elif roll < 0.9:
                handle.zero(length, offset)
            else:
                handle.trim(length, offset)
        handle.flush()


class Life:
    """A pair whose primary may change. `pair.primary` is the present one."""

    def __init__(self, pair: ControllerPair) -> None:
        self.pair = pair

    @property
    def primary(self) -> ControllerProcess:
        return self.pair.primary

    @property
    def secondary(self) -> ControllerProcess:
        return self.pair.secondary

    def state(self, controller: ControllerProcess) -> JournalState:
        return controller.client.state(GROUP)

    def begin(self) -> None:
        """Initial copy and journals, until all of it is restored and confirmed."""
        self.pair.order_initial_copy()
        self.pair.follow()
        self.pair.wait_copied()
        self.pair.wait_restored()
        self.pair.confirm()

    def catch_up(self) -> None:
        """The secondary restores what the primary has, and the primary frees it."""
        self.pair.follow()
        self.pair.wait_restored()
        self.pair.confirm()

    def resume(self) -> ChangedRegions:
        self.primary.client.resume(GROUP)
        return self.primary.client.regions(GROUP)

    def order_resync(self, changed: ChangedRegions | None = None) -> ChangedRegions:
        """Order the copy of changed regions; those of the primary unless others are given."""
        changed = changed or self.primary.client.regions(GROUP)
        self.secondary.client.resync(GROUP, ResyncOrder(source=self.pair.source(), regions=changed))
        return changed

    def consistent(self) -> bool:
        """Whether the secondary ended a differential copy and restored up to where it is consistent."""
        state = self.state(self.secondary)
        assert state.failure is None, state.failure
        assert state.initial_copy.failure is None, state.initial_copy.failure
        done = state.initial_copy.state is CopyState.DONE and state.consistent_sequence is not None
        return done and state.pointers["already_restored"].sequence >= (state.consistent_sequence or 0)

    def end_resync(self, epoch: str) -> JournalState:
        """Wait for consistency, then let the primary forget the epoch; the secondary's state then."""
        wait_until(lambda: self.consistent() and not self.state(self.secondary).safe_point.open, 60, "resync to end")
        self.pair.confirm()
        self.primary.client.clear_epoch(GROUP, EpochOrder(epoch=epoch))
        return self.state(self.secondary)

    def resync(self) -> JournalState:
        """All of it, for a suspended primary."""
        changed = self.resume()
        self.order_resync(changed)
        self.pair.follow()
        return self.end_resync(changed.epoch)

    def swap_roles(self) -> DemoteResult:
        """The secondary was taken over: the other site follows it from now on."""
        self.pair.primary, self.pair.secondary = self.pair.secondary, self.pair.primary
        return self.demote()

    def demote(self) -> DemoteResult:
        new = self.state(self.primary)
        order = DemoteOrder(
            generation=new.generation,
            base=new.pointers["confirmed"],
            covered_sequence=new.covered_sequence,
            peer_site=self.primary.site,
        )
        return self.secondary.client.demote(GROUP, order)

    def promote(self, generation: int | None = None) -> None:
        generation = generation or self.state(self.primary).generation
        self.primary.client.promote(GROUP, PromoteOrder(generation=generation, peer_site=self.secondary.site))

    def join(self) -> JournalState:
        """Demoted and promoted: copy what differs, until both are in step."""
        changed = self.primary.client.regions(GROUP)
        self.order_resync(changed)
        self.pair.follow()
        return self.end_resync(changed.epoch)


def dirty_bytes(controller: ControllerProcess) -> int:
    return controller.client.state(GROUP).dirty_bytes


def has_regions(controller: ControllerProcess) -> bool:
    try:
        controller.client.regions(GROUP)
    except NotFoundError:
        return False
    return True
