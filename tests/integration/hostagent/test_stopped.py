"""What hosts write while acquisition is stopped: no takeover calls it there, and none leaves the sides different."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.errors import ConflictError
from hostagent.api.models import PairResync, PairState
from hostagent.client import Agent
from tests.integration.hostagent.conftest import Case
from tests.support.waiting import wait_until

pytestmark = pytest.mark.e2e


def content(case: Case, agent: Agent) -> bytes:
    return Path(agent.volume(case.name).backing).read_bytes()


def test_writes_of_a_stopped_acquisition_are_never_lost_without_a_word(case: Case) -> None:
    case.pair()
    case.write(1)
    case.wait_restored(1)
    case.tokyo.stop_journal(case.name)
    case.write(2)  # in no journal
    for agent in (case.tokyo, case.osaka):
        with pytest.raises(ConflictError, match="acquisition at tokyo is stopped") as caught:
            agent.take_over(case.name)
        assert f"pairvol pair resync {case.name}" in caught.value.hint
    case.write(3)  # the primary serves as before

    report = case.osaka.take_over(case.name, force=True)
    assert (report.kind, report.unjournaled, report.missing_journals, report.reversed) == ("forced", True, None, False)
    status = case.wait_state(PairState.SSWS)
    assert "tokyo is fenced and was written while its acquisition was stopped" in status.line
    with pytest.raises(ConflictError, match="writes of the time when acquisition was stopped") as caught:
        case.osaka.resync_pair(case.name, PairResync(swap=True))
    assert "--force" in caught.value.hint
    case.tokyo.resync_pair(case.name, PairResync(swap=True, force=True))
    case.linked.join_data_link(case.name, case.linked.second)
    case.wait_state(PairState.PAIR)
    wait_until(lambda: content(case, case.tokyo) == content(case, case.osaka), 30, "both sides to be the same")
    assert case.number_at(case.linked.first) == 1


def test_a_marker_is_refused_with_the_rule_and_the_command_that_helps(case: Case) -> None:
    """The volume server refuses it, which does not know what its group is called."""
    case.pair()
    for stopped, reason, command in (
        (lambda: case.tokyo.stop_journal(case.name), "acquisition is stopped", "pairvol journal start"),
        (lambda: case.tokyo.split_pair(case.name), "changed regions are tracked instead", "pairvol pair resync"),
    ):
        stopped()
        for agent in (case.tokyo, case.osaka):
            with pytest.raises(ConflictError) as caught:
                agent.put_marker(case.name, "m")
            begin = f"cannot put a marker into {case.name}: no journal is written, "
            assert caught.value.message == begin + reason
            assert f'"{command} {case.name}"' in caught.value.hint
        case.tokyo.resync_pair(case.name)
        case.wait_state(PairState.PAIR)


def test_after_a_new_copy_a_planned_takeover_copies_nothing_again(case: Case) -> None:
    case.pair()
    case.write(1)
    case.tokyo.stop_journal(case.name)
    case.write(2)
    case.tokyo.resync_pair(case.name)
    case.wait_state(PairState.PAIR)
    wait_until(lambda: len(case.tokyo.markers(case.name).secondary or []) == 2, 30, "the marker of the new copy")
    report = case.tokyo.take_over(case.name)
    assert (report.kind, report.reversed) == ("planned", True)
    assert case.number_at(case.linked.second) == 2
    sides = case.osaka.journal(case.name)
    assert sides.secondary is not None
    assert sides.secondary.dirty_bytes == 0
    case.linked.join_data_link(case.name, case.linked.second)
    case.wait_state(PairState.PAIR)
    assert content(case, case.tokyo) == content(case, case.osaka)
