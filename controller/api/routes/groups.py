"""/groups: journal groups, and the commands that host agents give them."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from fastapi.concurrency import run_in_threadpool

from controller.api.late import Noun
from controller.api.lifecycle import Dropped
from controller.api.models import (
    AcquisitionOrder,
    CompressionOrder,
    CopyOrder,
    FenceRequest,
    Group,
    GroupCreate,
    InitialCopyOrder,
    JournalState,
    Name,
    PurgeRequest,
    RestoreRequest,
    TakeoverRequest,
    TakeoverResult,
)
from controller.api.routes.dependencies import Here, Wait
from controller.groups import commands as groups

noun = Noun("/groups", tags=["groups"])


@noun.get("")
def list_groups(appliance: Here) -> list[Group]:
    """All groups."""
    return groups.show_all(appliance)


@noun.post("", status_code=201)
def create(appliance: Here, request: GroupCreate) -> Group:
    """Define a journal group here."""
    return groups.create(appliance, request)


@noun.get("/{name}")
def show(appliance: Here, name: Name) -> Group:
    """The composition command: a group, its journal's areas, and where they are read."""
    return groups.show(appliance, name)


@noun.delete("/{name}")
def delete(appliance: Here, name: Name, force: bool = False) -> list[Dropped]:
    """Delete a group; its volumes stay. The answer counts the journals that were nowhere else."""
    return groups.delete(appliance, name, force=force)


@noun.post("/{name}/check-deletion", status_code=204)
def check_deletion(appliance: Here, name: Name) -> None:
    """Could the group be deleted without force?"""
    groups.check_deletion(appliance, name)


@noun.get("/{name}/state")
async def state(
    appliance: Here, name: Name, after: Annotated[int | None, Query(ge=0)] = None, wait: Wait = 0.0
) -> JournalState:
    """The journal-creation-state command; with `after`, answers when the journal went beyond it."""
    if after is not None:
        await groups.wait_moved(appliance, name, after, wait)
    return await run_in_threadpool(groups.journal_state, appliance, name)


@noun.post("/{name}/compression")
def compression(appliance: Here, name: Name, order: CompressionOrder) -> JournalState:
    """Let the other site read this primary compressed, or no longer."""
    groups.set_compression(appliance, name, order)
    return groups.journal_state(appliance, name)


@noun.post("/{name}/acquisition")
def acquisition(appliance: Here, name: Name, order: AcquisitionOrder) -> JournalState:
    """Start or stop journal acquisition at the primary."""
    groups.set_acquisition(appliance, name, order)
    return groups.journal_state(appliance, name)


@noun.post("/{name}/initial-copy")
def initial_copy(appliance: Here, name: Name, order: InitialCopyOrder) -> JournalState:
    """Begin the initial copy at the secondary; one that runs or is done goes on."""
    groups.order_initial_copy(appliance, name, order)
    return groups.journal_state(appliance, name)


@noun.post("/{name}/copy")
def copy(appliance: Here, name: Name, order: CopyOrder) -> JournalState:
    """The journal copy request: the secondary pulls, while the order's lease holds."""
    groups.order_copy(appliance, name, order)
    return groups.journal_state(appliance, name)


@noun.post("/{name}/restore")
def restore(appliance: Here, name: Name, request: RestoreRequest) -> JournalState:
    """Restore at the secondary what has been read."""
    groups.order_restore(appliance, name, request)
    return groups.journal_state(appliance, name)


@noun.post("/{name}/purge")
def purge(appliance: Here, name: Name, request: PurgeRequest) -> JournalState:
    """Tell the primary what a reader has durably, so that it may free it."""
    groups.purge(appliance, name, request)
    return groups.journal_state(appliance, name)


@noun.post("/{name}/takeover")
def takeover(appliance: Here, name: Name, request: TakeoverRequest) -> TakeoverResult:
    """Make the secondary volumes serve hosts, under a higher generation."""
    return groups.take_over(appliance, name, request)


@noun.post("/{name}/fence")
def fence(appliance: Here, name: Name, request: FenceRequest) -> Group:
    """Stop serving writes at a primary that was taken over."""
    return groups.fence(appliance, name, request)
