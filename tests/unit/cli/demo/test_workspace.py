"""The directory of a demonstration: whatever stands in its way is one line with a hint."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.errors import IntegrityError, NotFoundError, UsageError
from hostagent.cli.demo.workspace import RECORD, Workspace


def test_a_place_where_no_directory_can_be_made_is_wrong_usage(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for place in (file, file / "below", Path("/proc/demo")):
        with pytest.raises(UsageError, match=f"cannot make a demonstration in {place}: ") as caught:
            Workspace.create(place)
        assert "--dir" in caught.value.hint


def test_what_is_no_demonstration_is_not_ended(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for place in (file, tmp_path, tmp_path / "nothing"):
        with pytest.raises(NotFoundError, match=f"no demonstration in {place}"):
            Workspace.open(place)
    for text in ("", "[]", "{}", '{"sites": [], "made": true}'):
        (tmp_path / RECORD).write_text(text)
        with pytest.raises(IntegrityError, match="the record of a demonstration"):
            Workspace.open(tmp_path)
