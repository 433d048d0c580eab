"""Reads a storage controller when it is scraped: every group, server and drill.

Must not change anything, nor wait long: a group whose volume server is silent
is told with what is known without it.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from controller.api.drills import Drill
from controller.api.models import JournalState
from controller.appliance import Appliance
from controller.errors import NotFoundError
from controller.groups.journal_state import journal_state
from controller.metrics.figures import DRILL_LABELS, DRILLS, GROUP_LABELS, GROUPS, SERVER_LABELS, SERVERS
from controller.metrics.page import build_info, families, process_figures


class ApplianceCollector(Collector):
    """Everything that an appliance tells a monitoring system."""

    def __init__(self, appliance: Appliance, version: str) -> None:
        self._appliance = appliance
        self._version = version

    def collect(self) -> Iterator[Metric]:
        appliance = self._appliance
        document = appliance.store.document
        yield build_info("controller", document.site, self._version)
        for name, text, value in (
            ("pairvol_controller_volumes", "Volumes of this appliance.", len(document.volumes)),
            ("pairvol_controller_groups", "Journal groups of this appliance.", len(document.groups)),
            ("pairvol_controller_pool_volumes", "Unused volumes in the pool.", len(document.pool)),
        ):
            yield GaugeMetricFamily(name, text, value=value)
        states = [((state.group, str(state.role)), state) for state in self._states()]
        yield from families(GROUPS, GROUP_LABELS, states)
        servers = [((keeper.plan.id,), (keeper, process_figures(keeper.pid))) for keeper in appliance.servers.all()]
        yield from families(SERVERS, SERVER_LABELS, servers)
        yield from families(DRILLS, DRILL_LABELS, [((drill.group,), drill) for drill in self._newest_drills()])

    def _states(self) -> Iterator[JournalState]:
        for name in sorted(self._appliance.store.document.groups):
            try:
                yield journal_state(self._appliance, name)
            except NotFoundError:
                continue  # deleted meanwhile

    def _newest_drills(self) -> list[Drill]:
        """Of each group that is still here."""
        groups = self._appliance.store.document.groups
        newest = {drill.group: drill for drill in self._appliance.ledger.all() if drill.group in groups}
        return [newest[group] for group in sorted(newest)]
