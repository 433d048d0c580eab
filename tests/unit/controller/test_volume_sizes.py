"""Sizes that no file can have: refused before anything is recorded."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.errors import CapacityError
from controller.volumes import refuse_too_long


@pytest.mark.parametrize("size_bytes", [8192 << 50, (1 << 63) - 4096])
def test_it_is_a_matter_of_capacity(tmp_path: Path, size_bytes: int) -> None:
    with pytest.raises(CapacityError, match=r"no file at .* can be .* long") as caught:
        refuse_too_long(str(tmp_path / "data.img"), size_bytes)
    assert caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_what_can_be_is_not_made(tmp_path: Path) -> None:
    refuse_too_long(str(tmp_path / "data.img"), 1 << 40)
    assert list(tmp_path.iterdir()) == []
