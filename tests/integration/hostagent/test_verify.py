"""Initial copies by journals and by hand, and verify, as operators order them at either site."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.api.models import CopyState, JournalState, VolumeCreate
from controller.errors import ConflictError, UsageError
from hostagent.api.models import PairPolicy, PairState, Verdict
from hostagent.api.verify import VerifyPhase, VerifyReport
from hostagent.cli.main import run as pairvol
from hostagent.client import Agent
from hostagent.commands.verify import UNDER_WAY
from tests.integration.hostagent.conftest import BLOCK, VOLUME_BYTES, Case
from tests.support.waiting import wait_until

pytestmark = pytest.mark.e2e


def ended(agent: Agent, group: str, task: str | None) -> VerifyReport:
    """The report of a verify at its end; every report on the way is of that task."""

    def report() -> VerifyReport | None:
        found = agent.verify_report(group)
        assert found.task == task or found.phase is VerifyPhase.UNKNOWN
        return None if found.phase in (*UNDER_WAY, VerifyPhase.UNKNOWN) else found

    found = wait_until(report, 60, f"the end of the verify of {group}", interval=0.1)
    assert found is not None
    return found


def copy_of(case: Case) -> JournalState:
    state = case.osaka.journal(case.name).secondary
    assert state is not None
    return state


def flip(agent: Agent, volume: str, offset: int) -> None:
    """One bit of a volume's store, behind the product's back."""
    with Path(agent.volume(volume).backing).open("r+b") as store:
        store.seek(offset)
        byte = store.read(1)[0]
        store.seek(offset)
        store.write(bytes([byte ^ 1]))


def test_a_pair_copied_by_journals_is_verified_and_repaired(case: Case) -> None:
    case.make_volume()
    case.write(7, count=1500)
    case.tokyo.create_pair(case.order(initial_copy="base", journal_bytes=2 << 20, secondary_journal_bytes=2 << 20))
    case.linked.join_data_link(case.name)
    case.wait_state(PairState.PAIR, timeout=60)
    assert case.number_at(case.linked.second, block=1400) == 7
    assert (copy_of(case).initial_copy.method, copy_of(case).initial_copy.state) == ("base", CopyState.DONE)

    begun = case.osaka.verify_pair(case.name)
    report = ended(case.osaka, case.name, begun.task)
    assert (report.verdict, report.different, report.bytes_verified) == (Verdict.OK, [], VOLUME_BYTES)
    assert f"{case.name} is identical: 16 MiB compared, up to journal " in report.line

    flip(case.osaka, case.name, 300 * BLOCK)
    report = ended(case.tokyo, case.name, case.tokyo.verify_pair(case.name).task)
    assert report.verdict is Verdict.CRIT
    assert [(each.volume, each.offset) for each in report.different] == [(case.name, 300 * BLOCK // 65536 * 65536)]
    assert report.next_command == f"pairvol pair verify {case.name} --repair"

    report = ended(case.osaka, case.name, case.osaka.verify_pair(case.name, repair=True).task)
    assert (report.verdict, report.different, report.repaired_bytes) == (Verdict.OK, [], 65536)
    assert case.number_at(case.linked.second, block=300) == 7


def test_a_secondary_seeded_by_hand_copies_nothing_until_it_must(case: Case) -> None:
    case.make_volume()
    case.write(3, count=20)
    with pytest.raises(UsageError, match="has no volume"):
        case.tokyo.create_pair(case.order(initial_copy="none"))
    case.osaka.create_volume(VolumeCreate(name=case.name, size_bytes=VOLUME_BYTES))
    Path(case.osaka.volume(case.name).backing).write_bytes(Path(case.tokyo.volume(case.name).backing).read_bytes())
    case.tokyo.create_pair(case.order(initial_copy="none"))
    case.linked.join_data_link(case.name)
    case.wait_state(PairState.PAIR)
    state = copy_of(case)
    assert (state.initial_copy.bytes_copied, state.consistent_sequence) == (0, 0)
    case.write(4, count=5)
    case.wait_restored(4)
    report = ended(case.tokyo, case.name, case.tokyo.verify_pair(case.name).task)
    assert report.verdict is Verdict.OK, report.line

    case.tokyo.stop_journal(case.name)
    with pytest.raises(ConflictError, match="cannot verify"):
        case.osaka.verify_pair(case.name)
    case.write(5, count=9)  # in no journal
    case.tokyo.start_journal(case.name)
    case.wait_state(PairState.PAIR)
    wait_until(lambda: copy_of(case).initial_copy.method == "direct" and case.number_at(case.linked.second) == 5, 30)


def test_a_verify_under_way_is_cancelled_from_either_site(case: Case) -> None:
    case.pair(PairPolicy(restore="later"))  # so it does not end by itself
    for order, agent in ((case.osaka, case.tokyo), (case.tokyo, case.osaka)):
        begun = order.verify_pair(case.name, repair=True)
        assert begun.phase in UNDER_WAY
        report = agent.verify_pair(case.name, cancel=True)
        assert (report.task, report.phase) == (begun.task, VerifyPhase.INTERRUPTED)
        assert agent.verify_pair(case.name, cancel=True).phase is VerifyPhase.INTERRUPTED  # given again
    begun = case.tokyo.verify_pair(case.name)
    case.tokyo.split_pair(case.name)  # no state for a verify, and the one under way waits for the end of it
    assert case.osaka.verify_report(case.name).phase in UNDER_WAY
    assert case.osaka.verify_pair(case.name, cancel=True).phase is VerifyPhase.INTERRUPTED
    case.tokyo.resync_pair(case.name)
    case.wait_state(PairState.PAIR)
    assert case.tokyo.verify_report(case.name).phase is VerifyPhase.INTERRUPTED


def test_where_restore_is_on_command_a_verify_tells_the_command(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    case.pair(PairPolicy(restore="later"))
    case.write(1)

    def typed(line: str) -> tuple[int, str]:
        code = pairvol([*line.split(), "--agent", case.linked.first.agent_url])
        return code, capsys.readouterr().out

    case.osaka.restore_journal(case.name)  # before the digests are there
    code, said = typed(f"pair verify {case.name}")  # nothing can go on, so it ends
    assert (code, said[:5]) == (1, "WARN ")
    assert "restore is on command" in said
    restore = said.splitlines()[0].rpartition("next: pairvol ")[2]
    assert restore.startswith(f"journal restore {case.name} --to ")
    assert typed(f"pair verify {case.name}") == (code, said), "given again it begins no other one"
    assert typed(restore)[0] == 0
    assert ended(case.osaka, case.name, case.osaka.verify_report(case.name).task).verdict is Verdict.OK
    code, said = typed(f"pair verify {case.name} --status")
    assert (code, said[:5]) == (0, "OK   ")


def test_a_differential_initial_copy_is_refused(case: Case) -> None:
    case.make_volume()
    with pytest.raises(UsageError, match="no changed regions"):
        case.tokyo.create_pair(case.order(initial_copy="differential"))
