"""Volume servers kept loaded for groups that may be taken over: hosts then wait for the restore and hardly for more.

Owns which groups have one: the first secondaries by name, as many as the
configuration says, for each costs memory. It looks from time to time, so that
nothing is loaded while groups are being made.
"""

from __future__ import annotations

import threading
from typing import Final

from controller import plans, serving
from controller.api.models import Role, SplitMode
from controller.appliance import Appliance
from controller.state import GroupRecord, Phase, StateDocument

LOOK_SECONDS: Final = 5.0


class Standby:
    """A thread of the controller. `close` comes before that of the appliance, which ends what is loaded."""

    def __init__(self, appliance: Appliance) -> None:
        self._appliance = appliance
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._main, name="standby", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def _main(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            self.look()

    def look(self) -> None:
        """Load what is missing, end what is not wanted any more."""
        document = self._appliance.store.document
        waiting = wanted(document, self._appliance.config.servers.prepared)
        # What a takeover under way has had loaded is for it to use.
        being_taken = {plans.group_server(g) for g in document.groups.values() if g.phase is Phase.TAKING_OVER}
        self._appliance.servers.drop_prepared(being_taken.union(waiting))
        for server in waiting:
            serving.prepare(self._appliance, server)


def wanted(document: StateDocument, count: int) -> list[str]:
    """Ids of the servers that are kept loaded, at most so many."""
    groups = [document.groups[name] for name in sorted(document.groups)]
    return [plans.group_server(group) for group in groups if _may_be_taken(group)][:count]


def _may_be_taken(group: GroupRecord) -> bool:
    """While it is split a server has its volumes already."""
    return group.role is Role.SECONDARY and group.phase is Phase.READY and group.split is SplitMode.OFF
