"""Keeps one pair's seat at its controller, and the pair's record beside the group (HOSTS.md).

Owns the claims and the token that orders carry. Must not decide anything
about the pair: whether it works or stands by is all that it tells.
"""

from __future__ import annotations

import threading
from typing import Final

from pydantic import ValidationError

from controller.api.client import ControllerClient
from controller.api.drivers import DriverLease
from controller.api.models import JournalState
from controller.errors import ConflictError, PairvolError, StorageError
from controller.events import Events
from hostagent.api.models import Pair
from hostagent.copy_manager.side import Instant
from hostagent.decisions import age
from hostagent.hosts.seat import Place, Seat

KEEP_AGAIN_SECONDS: Final = 1.0  # after a record that could not be kept


class Driving:
    """Any thread may call; a claim waits for the controller."""

    def __init__(self, group: str, site: str, seat: Seat, controller: ControllerClient, events: Events) -> None:
        self._group, self._site, self._seat = group, site, seat
        self._controller, self._events = controller, events
        self._lock = threading.Lock()
        self._kept: Pair | None = None  # as the controller has it
        self._keep_after = 0.0
        self._told = ""  # why it was not kept

    @property
    def stands_by(self) -> bool:
        return self._seat.place is Place.STANDS_BY

    @property
    def drives(self) -> bool:
        return self._seat.place is Place.DRIVES

    @property
    def driver(self) -> str | None:
        """Who drives, as the controller said last."""
        return self._seat.driver

    @property
    def controller(self) -> ControllerClient:
        """For orders: they are refused when another drives by now."""
        return self._controller.driving(self._seat.token)

    def rest_seconds(self, now: Instant) -> float:
        return self._seat.rest_seconds(now.seconds)

    def renew(self, now: Instant, pair: Pair, *, wanted: bool = False) -> Pair:
        """Claim if that is due, or `wanted` for a command; the pair as it is to be worked on."""
        with self._lock:
            if wanted or self._seat.rest_seconds(now.seconds) <= 0:
                pair = self._claim(now, pair, wanted=wanted)
            if self.drives and pair != self._kept and now.seconds >= self._keep_after:
                self._keep(now, pair)
        return pair

    def refused(self, error: PairvolError) -> bool:
        """Whether an order failed because another drives; then the next claim is due."""
        if isinstance(error, ConflictError) and "driver" in error.facts:
            self._seat.refused()
            return True
        return False

    def looked(self, asked: Instant, state: JournalState) -> None:
        """The controller answered a look that was asked then."""
        self._seat.looked(asked.seconds, state.driver)

    def release(self) -> None:
        """This agent ends in order: whoever stands by need not wait."""
        if self.drives:
            self._controller.release_driver(self._group, self._seat.agent)

    def _claim(self, now: Instant, pair: Pair, *, wanted: bool) -> Pair:
        before = self._seat.place, self._seat.driver
        try:
            lease = self._controller.claim_driver(self._group, self._seat.claim(now.seconds, wanted=wanted))
        except PairvolError:
            self._seat.failed(now.seconds)
            self._tell(before)
            return pair
        self._seat.answered(now.seconds, lease)
        self._tell(before)
        self._kept = kept = _record(lease, pair)
        went_on = before[0] is Place.DRIVES and self.drives
        if kept is not None and (age(kept) > age(pair) or (age(kept) == age(pair) and not went_on)):
            return kept
        return pair

    def _keep(self, now: Instant, pair: Pair) -> None:
        try:
            self.controller.keep_pair(self._group, pair)
            self._kept = pair
            self._told = ""
        except PairvolError as error:
            self._keep_after = now.seconds + KEEP_AGAIN_SECONDS
            if not self.refused(error):
                self._tell_unkept(error)

    def _tell_unkept(self, error: PairvolError) -> None:
        """An event, once for each reason: until it is kept, another host would take up the pair as it was."""
        if isinstance(error, StorageError) and error.message != self._told:
            self._told = error.message
            words = f"{self._site} does not keep the record of {self._group}: {error.message}"
            self._events.emit("error", "pair.not_kept", words, {"hint": error.hint}, group=self._group)

    def _tell(self, before: tuple[Place, str | None]) -> None:
        """An event when another drives than before."""
        seat, group = self._seat, self._group
        where = f"the storage controller of {self._site} for {group}"
        if (seat.place, seat.driver) == before or before == (Place.UNKNOWN, None):
            return
        if seat.place is Place.DRIVES:
            level, text = ("warning" if seat.stands_in else "info"), f"{seat.agent} drives {where}"
        elif before[0] is Place.DRIVES:
            level, text = "info", f"{seat.agent} no longer drives {where}"
        else:
            return
        self._events.emit(level, "pair.driver", text, {"driver": seat.driver, "site": self._site}, group=group)


def _record(lease: DriverLease, pair: Pair) -> Pair | None:
    """The pair as the controller keeps it; None when it is of another pair, or of another version of this program."""
    if lease.record is None:
        return None
    try:
        found = Pair.model_validate(lease.record)
    except ValidationError:
        return None
    return found if found.uuid == pair.uuid else None
