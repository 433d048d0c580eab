"""Scrapes of both daemons of two real sites under load, and with a site gone."""

from __future__ import annotations

import json

import pytest

from hostagent.api.models import PairState
from hostagent.cli.demo.sites import Daemon, Site
from hostagent.cli.main import run as pairvol
from hostagent.metrics.figures import CERTIFICATES
from tests.integration.hostagent.conftest import Case
from tests.support import scrapes
from tests.support.replication import agent_socket
from tests.support.scrapes import Scrape
from tests.support.stamps import StampLog
from tests.support.waiting import wait_until
from tests.support.writers import StampedWriter

pytestmark = pytest.mark.e2e


def of_agent(site: Site) -> Scrape:
    return Scrape.of(f"{site.agent_url}/metrics")


def of_controller(site: Site) -> Scrape:
    return Scrape.of(f"{site.agent_url}/metrics/controller")


def test_both_daemons_tell_under_load_what_alerts_and_dashboard_ask(
    case: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    case.pair()
    uri = case.tokyo.volume(case.name).uri
    assert uri is not None
    tokyo, osaka = case.linked.first, case.linked.second
    group = {"group": case.name}
    with StampedWriter(uri, 0, StampLog(), seed=7):
        wait_until(lambda: (of_agent(tokyo).value("pairvol_pair_lag_bytes", **group) or 0) > 0, 20, "a lag")
        assert pairvol(["top", "--once", "--json", "--agent", agent_socket(osaka)]) == 0
        pages = [of_agent(tokyo), of_agent(osaka), of_controller(tokyo), of_controller(osaka)]
    [row] = [each for each in json.loads(capsys.readouterr().out)["pairs"] if each["group"] == case.name]
    assert (row["verdict"], row["primary"], row["secondary"]) == ("OK", "tokyo", "osaka")
    for rate in ("written_journals", "written_bytes", "copied_bytes", "restored_bytes"):
        assert row[f"{rate}_per_second"] > 0
    for page in pages:
        assert page.complaints() == []
        assert scrapes.lint(page.text) == []
        assert (page.value("process_resident_memory_bytes") or 0) > 1 << 20
    there = {name for page in pages for name in page.families}
    there |= {figure.name for figure in CERTIFICATES}  # of sites with [tls]
    assert [use for use in scrapes.uses() if use.metric not in there] == []

    for page in pages[:2]:
        assert page.value("pairvol_pair_state", **group) == PairState.PAIR.number
        assert page.value("pairvol_pair_verdict", **group) == 0
        assert page.value("pairvol_pair_protected", **group) == 1
        assert page.value("pairvol_pair_side_up", site="osaka", **group) == 1
    written, copied = pages[2], pages[3]
    primary, secondary = {"role": "primary", **group}, {"role": "secondary", **group}
    assert (written.value("pairvol_journal_appended_records_total", **primary) or 0) > 0
    assert (copied.value("pairvol_journal_restored_bytes_total", **secondary) or 0) > 0
    assert copied.value("pairvol_journal_appended_records_total", **secondary) is None
    assert copied.value("pairvol_copy_checksum_errors_total", **secondary) == 0
    assert copied.value("pairvol_link_up", **secondary) == 1
    server = f"v-{case.name}"
    assert written.value("pairvol_server_up", server=server) == 1
    assert (written.value("pairvol_server_resident_memory_bytes", server=server) or 0) > 1 << 20
    assert (written.value("pairvol_server_cpu_seconds_total", server=server) or 0) > 0


def test_figures_of_a_site_that_is_gone_are_left_out(case: Case) -> None:
    case.pair()
    case.write(1)
    group = {"group": case.name}
    assert of_agent(case.linked.first).value("pairvol_pair_side_sequence", site="osaka", **group) is not None
    case.linked.second.kill(Daemon.AGENT)
    case.wait_state(PairState.PSUE)
    page = of_agent(case.linked.first)
    assert page.value("pairvol_pair_verdict", **group) == 2
    assert page.value("pairvol_pair_side_up", site="osaka", **group) == 0
    assert page.value("pairvol_pair_side_up", site="tokyo", **group) == 1
    assert page.value("pairvol_pair_side_sequence", site="osaka", **group) is None
    assert page.value("pairvol_pair_lag_seconds", **group) is None
    assert page.value("pairvol_peer_up", site="osaka") == 0
