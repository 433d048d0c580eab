"""Journals and volumes of another size: either host takes the order, the pair stays protected."""

from __future__ import annotations

import pytest

from controller.errors import UsageError
from hostagent.api.models import JournalSize, PairState, ResizeSide
from tests.integration.hostagent.conftest import JOURNAL_BYTES, Case

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
