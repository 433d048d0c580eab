"""Whoever asks for the worker of a group that has just become secondary waits for it, and not without end."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any, cast

import pytest

from controller.api.models import Role
from controller.errors import ConflictError, IntegrityError
from controller.events import Events
from controller.groups import secondary
from controller.groups.secondary import Workers
from controller.paths import Paths
from controller.state import GroupRecord, StateDocument

GROUP = GroupRecord(
    name="db",
    uuid="g",
    role=Role.SECONDARY,
    generation=1,
    peer_site="osaka",
    volumes=[],
    journal_path="/j",
    journal_bytes=512,
)
NOTHING = cast(StateDocument, None)


def workers(monkeypatch: pytest.MonkeyPatch, opened: Any) -> Workers:
    def open_it(*_: object) -> Any:
        if isinstance(opened, Exception):
            raise opened
        return opened

    made = Workers(cast(Paths, None), cast(Events, None))
    monkeypatch.setattr(made, "_open", open_it)
    return made


def test_a_worker_on_the_way_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    made = workers(monkeypatch, SimpleNamespace(worker="the worker"))
    starting = threading.Timer(0.05, made.start, (GROUP, NOTHING))
    starting.start()
    assert cast(object, made.get(GROUP)) == "the worker"
    starting.join()


def test_what_hinders_a_worker_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = workers(monkeypatch, IntegrityError("the journal is damaged"))
    monkeypatch.setattr(secondary, "SOON_SECONDS", 3600.0)
    with pytest.raises(IntegrityError):
        made.start(GROUP, NOTHING)
    with pytest.raises(IntegrityError, match="damaged"):
        made.get(GROUP)


def test_a_primary_has_no_worker_to_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secondary, "SOON_SECONDS", 3600.0)
    with pytest.raises(ConflictError, match="takes no journals"):
        workers(monkeypatch, None).get(GROUP.model_copy(update={"role": Role.PRIMARY}))
