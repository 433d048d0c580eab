"""What is told when a volume server changes how it treats host writes."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from controller.api.models import AcquisitionMode
from controller.events import Events
from controller.groups.modes import Modes


@pytest.mark.parametrize(("ordered", "level"), [(True, "info"), (False, "error")])
def test_a_suspension_is_an_error_unless_an_operator_wanted_it(tmp_path: Path, ordered: bool, level: str) -> None:
    with closing(Events(tmp_path / "events", "tokyo")) as events:
        modes = Modes(events)
        for mode in (AcquisitionMode.JOURNAL, AcquisitionMode.SUSPENDED, AcquisitionMode.SUSPENDED):
            modes.note("db", "u-1", mode, {}, lambda: ordered)
        assert [(each.name, each.level) for each in events.after(0)] == [("group.suspended", level)]
