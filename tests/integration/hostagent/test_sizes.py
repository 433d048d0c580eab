"""Journals and volumes of another size: either host takes the order, the pair stays protected."""

from __future__ import annotations

import pytest

from controller.errors import ConflictError, PeerError, UsageError
from hostagent.api.models import PairSplit, PairState
from hostagent.api.volumes import JournalSize, ResizeSide
from tests.integration.hostagent.conftest import BLOCK, JOURNAL_BYTES, VOLUME_BYTES, Case
from tests.support.nbdkit import connected

pytestmark = pytest.mark.e2e


def test_both_journals_from_the_secondarys_host(case: Case) -> None:
    case.pair()
    case.write(1, 20)
    sizes = case.osaka.resize_journal(case.name, JournalSize(size_bytes=4 * JOURNAL_BYTES))
    assert (sizes.primary, sizes.secondary) == (4 * JOURNAL_BYTES, 4 * JOURNAL_BYTES)
    case.write(2, 20)
    case.wait_restored(2, 19)
    case.wait_state(PairState.PAIR)
    only = case.tokyo.resize_journal(case.name, JournalSize(size_bytes=2 * JOURNAL_BYTES, side=ResizeSide.PRIMARY))
    assert (only.primary, only.secondary) == (2 * JOURNAL_BYTES, None)
    case.write(3, 20)
    case.wait_restored(3, 19)
    with pytest.raises(UsageError, match="cannot both lie"):
        case.tokyo.resize_journal(case.name, JournalSize(journal_volumes=["fast"]))


def test_both_journals_or_neither_where_the_primary_is_known_to_refuse(case: Case) -> None:
    case.pair()
    before = case.osaka.journal(case.name).secondary
    size = JournalSize(size_bytes=8 * JOURNAL_BYTES)
    case.tokyo.stop_journal(case.name)
    for agent in (case.tokyo, case.osaka):
        with pytest.raises(ConflictError, match="acquisition at tokyo is stopped") as stopped:
            agent.resize_journal(case.name, size)
        assert f'"pairvol journal start {case.name}"' in stopped.value.hint
    case.linked.first.kill_site()
    case.wait_state(PairState.PSUE, case.osaka)
    with pytest.raises(PeerError, match="tokyo does not answer"):
        case.osaka.resize_journal(case.name, size)
    kept = case.osaka.journal(case.name).secondary
    assert before is not None
    assert kept is not None
    assert kept.journal_uuid == before.journal_uuid


def test_a_paired_volume_grows_at_both_sites(case: Case) -> None:
    case.pair()
    with pytest.raises(ConflictError, match="cannot shrink"):
        case.osaka.resize_volume(case.name, VOLUME_BYTES // 2)
    sizes = case.osaka.resize_volume(case.name, 2 * VOLUME_BYTES)
    assert sizes.sizes == {"tokyo": 2 * VOLUME_BYTES, "osaka": 2 * VOLUME_BYTES}
    assert case.tokyo.resize_volume(case.name, 2 * VOLUME_BYTES) == sizes
    uri = case.tokyo.volume(case.name).uri
    assert uri is not None
    last = 2 * VOLUME_BYTES // BLOCK - 1
    with connected(uri) as handle:
        assert handle.get_size() == 2 * VOLUME_BYTES
        handle.pwrite((7).to_bytes(4, "big") * (BLOCK // 4), last * BLOCK)
        handle.flush()
    case.wait_restored(7, last)
    status = case.wait_state(PairState.PAIR)
    assert [side.copy_percent for side in status.sides][1] in (None, 100)
    case.tokyo.split_pair(case.name, PairSplit())
    with pytest.raises(ConflictError, match="split"):
        case.tokyo.resize_volume(case.name, 3 * VOLUME_BYTES)
