"""What a volume server is told is durable, also when it is told the same again."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from controller import serving
from controller.errors import StorageError
from controller.paths import Paths
from tests.support.disks import directory_sync_fails


def test_a_name_that_was_not_synced_is_no_success_when_the_same_is_told_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = Paths(tmp_path / "state", tmp_path / "run")
    paths.make()
    appliance, document = cast(Any, SimpleNamespace(paths=paths)), cast(Any, {"volumes": []})
    with directory_sync_fails(monkeypatch):
        for _ in range(2):
            with pytest.raises(StorageError, match=r"v-data\.json.*input/output error"):
                serving.tell(appliance, "v-data", document)
    serving.tell(appliance, "v-data", document)
    assert serving.told(appliance, "v-data") == document
