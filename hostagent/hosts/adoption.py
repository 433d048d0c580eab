"""Takes up pairs that another agent made at the same controller, and forgets those that it ended.

Owns a thread that looks at the records kept beside the groups (HOSTS.md). A
pair that this agent drives is its own business and never forgotten here.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from controller.api.drivers import KeptPair
from controller.errors import PairvolError
from hostagent.api.models import Pair

if TYPE_CHECKING:
    from hostagent.host import Host

LOOK_SECONDS: Final = 5.0

_log = logging.getLogger("pairvol.agent")


class Adoption:
    """`start` begins; `stop` lets the thread end by itself."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._seen: set[tuple[str, str]] = set()  # (group, uuid) that the controller had
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._main, name=f"pairs of {host.site}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()

    def look(self) -> None:
        """Compare what is kept at the controller with what is kept here. Raises what the controller answers."""
        kept = {each.group: each for each in self._host.controller.pairs()}
        for each in kept.values():
            if self._host.store.find(each.group) is None:
                self._take_up(each)
        for pair in self._host.store.all():
            found = kept.get(pair.group)
            if found is not None and found.uuid == pair.uuid:
                self._seen.add((pair.group, pair.uuid))
            elif (pair.group, pair.uuid) in self._seen:
                self._forget(pair)

    def _take_up(self, kept: KeptPair) -> None:
        host, pair = self._host, _pair(kept)
        if pair is None or host.site not in (pair.primary.site, pair.secondary.site):
            return
        other = pair.secondary.site if pair.primary.site == host.site else pair.primary.site
        if other not in host.config.peers:
            return
        with host.locks.hold(groups=[pair.group]):
            still = any(each == kept for each in host.controller.pairs())
            if host.store.find(pair.group) is not None or not still:
                return
            host.store.put(pair)
            host.begin_pair(pair)
        host.events.emit("info", "pair.known", f"pair {pair.group} of {host.site} taken up", group=pair.group)

    def _forget(self, pair: Pair) -> None:
        """The group is gone: another agent has ended the pair."""
        host = self._host
        runner = host.runners.find(pair.group)
        if runner is None or not runner.driving.stands_by:
            return
        with host.locks.hold(groups=[pair.group]):
            host.runners.end(pair.group)
            host.store.remove(pair.group)
        self._seen.discard((pair.group, pair.uuid))

    def _main(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            try:
                self.look()
            except PairvolError:
                continue  # the controller's silence is told by the runners and the feed
            except Exception:  # noqa: BLE001 - the boundary of a thread: without it no pair would be taken up any more
                _log.exception("mistake in the program while looking for pairs of %s", self._host.site)


def _pair(kept: KeptPair) -> Pair | None:
    if kept.record is None:
        return None
    try:
        pair = Pair.model_validate(kept.record)
    except ValidationError:
        return None
    return pair if (pair.group, pair.uuid) == (kept.group, kept.uuid) else None
