"""Space is freed up to what every reader has."""

from __future__ import annotations

from controller.api.models import GroupVolume, Role
from controller.groups.confirmations import Confirmations
from controller.state import GroupRecord


def test_the_slowest_reader_counts() -> None:
    group = GroupRecord(
        name="db",
        uuid="u",
        role=Role.PRIMARY,
        generation=1,
        peer_site="osaka",
        volumes=[GroupVolume(index=0, name="a", size_bytes=512)],
        journal_path="/j",
        journal_bytes=512,
        readers=["osaka", "archive"],
    )
    confirmations = Confirmations()
    assert confirmations.note(group, "osaka", 9) == 0
    assert confirmations.note(group, "archive", 4) == 4
    assert confirmations.note(group, "archive", 3) == 4
    assert confirmations.note(group, "archive", 20) == 9
