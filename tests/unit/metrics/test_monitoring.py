"""What systemd/monitoring/ ships: every metric, label and panel of it is one that a daemon tells."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
import tomllib
from datetime import timedelta
from pathlib import Path

import pytest

from controller.certificates import Authority
from controller.metrics import figures as of_controller
from controller.metrics.page import families
from controller.tls import Certificates
from hostagent.metrics import figures as of_agent
from hostagent.metrics.collector import first_expiry
from tests.support import scrapes
from tests.support.processes import PROJECT

PROMTOOL = shutil.which("promtool") or shutil.which("promtool", path=Path(sys.executable).parent)

LABELS: dict[str, set[str]] = {
    figure.name: set(labels)
    for figures, labels in (
        (of_controller.GROUPS, of_controller.GROUP_LABELS),
        (of_controller.SERVERS, of_controller.SERVER_LABELS),
        (of_controller.DRILLS, of_controller.DRILL_LABELS),
        (of_agent.PAIRS, of_agent.PAIR_LABELS),
        (of_agent.SIDES, of_agent.SIDE_LABELS),
        (of_agent.PEERS, of_agent.PEER_LABELS),
        (of_agent.STATES, of_agent.STATE_LABELS),
        (of_agent.CERTIFICATES, ()),
    )
    for figure in figures
}


def test_names_are_given_once() -> None:
    tables = (of_controller.GROUPS, of_controller.SERVERS, of_controller.DRILLS)
    tables += (of_agent.PAIRS, of_agent.SIDES, of_agent.PEERS, of_agent.STATES, of_agent.CERTIFICATES)  # type: ignore[assignment]
    assert sum(map(len, tables)) == len(LABELS)


def test_alerts_and_dashboard_name_what_there_is() -> None:
    used = scrapes.uses()
    assert len({use.metric for use in used}) > 20
    assert [use for use in used if not use.labels <= LABELS.get(use.metric, set())] == []


def test_words_of_an_alert_use_labels_that_it_has() -> None:
    alerts = list(scrapes.words())
    assert len(alerts) == 18
    for name, expression, used in alerts:
        if "up{" in expression and "pairvol_" not in expression.replace("pairvol-", ""):
            assert used <= scrapes.ADDED_BY_PROMETHEUS, name
        else:
            assert used <= scrapes.labels_of_result(expression, LABELS), name


def test_every_alert_says_what_to_type_next() -> None:
    for block in scrapes.path_of("alerts.yml").read_text().split("- alert: ")[1:]:
        for part in ("labels: {severity: ", "summary: ", "next: "):
            assert part in block


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not there: run make tools, or install Debian's prometheus")
def test_the_rules_fire_when_they_should() -> None:
    assert PROMTOOL is not None
    subprocess.run([PROMTOOL, "check", "rules", scrapes.path_of("alerts.yml")], check=True, capture_output=True)
    subprocess.run([PROMTOOL, "test", "rules", Path(__file__).with_name("alerts_test.yml")], check=True)


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not there: run make tools, or install Debian's prometheus")
def test_a_lag_that_is_not_known_is_drawn_dashed_as_at_least(tmp_path: Path) -> None:
    """One site tells the lag for two minutes, then that it is at least a minute; the line goes on, dashed."""
    [panel] = [panel for panel in scrapes.dashboard()["panels"] if panel["title"] == "Lag, seconds"]
    known, bound = (target["expr"].replace("$group", "db") for target in panel["targets"])
    dashed = {each["matcher"]["options"]: each["properties"][0]["value"] for each in panel["fieldConfig"]["overrides"]}
    assert [target["refId"] for target in panel["targets"] if target["refId"] in dashed] == ["B"]
    assert dashed["B"]["fill"] == "dash"
    series = {"pairvol_pair_lag_seconds": "1 2 stale", "pairvol_pair_lag_at_least_seconds": "1 2 60 61"}
    wanted = [(known, "1m", "2"), (bound, "1m", None), (known, "3m", None), (bound, "3m", "61")]
    rules = ["rule_files: []", "tests:", "  - interval: 1m", "    input_series:"]
    for name, values in series.items():
        rules += [f'      - series: \'{name}{{group="db",instance="tokyo"}}\'', f"        values: {values}"]
    rules.append("    promql_expr_test:")
    for expression, moment, value in wanted:
        rules += [f"      - expr: '{expression}'", f"        eval_time: {moment}"]
        if value is not None:
            rules += ["        exp_samples:", "          - labels: '{group=\"db\"}'", f"            value: {value}"]
    file = tmp_path / "panel.yml"
    file.write_text("\n".join(rules) + "\n")
    assert PROMTOOL is not None
    done = subprocess.run([PROMTOOL, "test", "rules", file], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_scrapes_go_where_the_agent_listens() -> None:
    """Of the configuration that is shipped."""
    agent = tomllib.loads((PROJECT / "systemd" / "agent.toml").read_text())
    targets = [line for line in scrapes.path_of("prometheus.yml").read_text().splitlines() if "targets" in line]
    assert targets
    for line in targets:
        assert line.split('"')[1] in agent["listen"]


def test_panels_of_the_dashboard_do_not_overlap() -> None:
    panels = scrapes.dashboard()["panels"]
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_when_certificates_expire_is_told_where_there_are_any(tmp_path: Path) -> None:
    folder = Authority.open(tmp_path).issue("tokyo", [], timedelta(days=7))
    expiry = first_expiry(Certificates(folder))
    assert expiry is not None
    assert 0 < expiry - time.time() < timedelta(days=7, minutes=1).total_seconds()
    (folder / "client-cert.pem").unlink()
    assert first_expiry(Certificates(folder)) is None
    assert first_expiry(None) is None


def test_what_is_not_known_has_no_sample() -> None:
    [family] = families(of_agent.PEERS[1:], of_agent.PEER_LABELS, [])
    assert family.samples == []
