"""What a takeover cost: known, bounded, or not to be known."""

from __future__ import annotations

import pytest

from hostagent.api.models import TakeoverReport
from hostagent.history.takeovers import takeover_entry
from tests.unit.hostagent.conftest import Scene


def report(**changes: object) -> TakeoverReport:
    values = {
        "group": "db",
        "kind": "forced",
        "generation": 2,
        "restored_sequence": 10,
        "restored_time_ns": 1,
        "journals_restored": 0,
        "missing_journals": 5,
        "missing_bytes": 20480,
        "seconds": 0.4,
    }
    return TakeoverReport.model_validate(values | changes)


def behind(scene: Scene) -> None:
    """Ten journals arrived; two seconds later five more were written that did not."""
    scene.writes(10)
    scene.copies(10)
    scene.now += 2
    scene.writes(5)


def test_planned_loses_nothing(scene: Scene) -> None:
    entry = takeover_entry("osaka", report(missing_journals=0, missing_bytes=0), scene.facts("osaka"), scene.instant)
    assert (entry.lag_seconds, entry.lag_seconds_max, entry.seconds) == (0.0, 0.0, 0.4)


def test_what_the_primary_told_is_counted_to_its_newest_journal(scene: Scene) -> None:
    behind(scene)
    facts = scene.facts("osaka")
    scene.now += 60  # until somebody gave the command
    entry = takeover_entry("osaka", report(), facts, scene.instant)
    assert entry.lag_seconds == pytest.approx(2, abs=0.01)
    assert entry.missing_journals == 5


def test_with_the_primary_silent_only_a_bound_is_known(scene: Scene) -> None:
    scene.writes(10)
    scene.copies(10)
    facts = scene.facts("osaka")
    scene.now += 7
    entry = takeover_entry("osaka", report(missing_journals=None, missing_bytes=None), facts, scene.instant)
    assert entry.lag_seconds is None
    assert entry.lag_seconds_max == pytest.approx(7, abs=0.01)


def test_changed_regions_carry_no_time(scene: Scene) -> None:
    behind(scene)
    changed = report(missing_journals=0, changed_bytes_missing=65536)
    entry = takeover_entry("osaka", changed, scene.facts("osaka"), scene.instant)
    assert entry.lag_seconds is None
    assert entry.lag_seconds_max is not None
    assert entry.changed_bytes_missing == 65536


def test_back_at_a_safe_point_the_loss_is_counted_from_there(scene: Scene) -> None:
    behind(scene)
    facts = scene.facts("osaka")
    assert facts.secondary.state is not None
    restored = facts.secondary.state.pointers["already_restored"].time_ns - 9 * 10**9
    went_back = report(
        missing_journals=0, missing_bytes=0, from_safe_point=True, journals_dropped=7, restored_time_ns=restored
    )
    entry = takeover_entry("osaka", went_back, facts, scene.instant)
    assert (entry.from_safe_point, entry.journals_dropped, entry.lag_seconds) == (True, 7, None)
    assert entry.lag_seconds_max is not None
    assert entry.lag_seconds_max > 9


def test_a_command_given_again_does_not_know_how_long_it_took(scene: Scene) -> None:
    assert takeover_entry("osaka", report(), scene.facts("osaka"), scene.instant, again=True).seconds is None
