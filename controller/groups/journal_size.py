"""A journal on a larger or smaller volume, while the group lives: made, filled, put in place.

Owns the order of the steps (controller/LIFECYCLE.md, "Journal of another
size") and their settlement after a crash. What is still needed is carried over
beforehand, without the group's lock; the rest by whoever writes the journal,
behind a closed gate. The rename of the new volume to the journal's name is the
one step that counts.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Final

from controller import durable, plans, serving
from controller.api.lifecycle import JournalResize
from controller.api.models import Group, Role
from controller.appliance import Appliance
from controller.errors import ConflictError, PairvolError, StorageError
from controller.groups import storage
from controller.groups.view import show
from controller.journal import moving
from controller.journal.layout import BLOCK_BYTES
from controller.journal.pointers import Pointer, PointerPage, Position
from controller.journal.volume import JournalVolume
from controller.paths import GroupPaths
from controller.state import GroupRecord, JournalMove, Phase
from controller.units import format_size

PASSES_MAX: Final = 8
REST_BLOCKS: Final = (16 << 20) // BLOCK_BYTES  # carried over quickly enough while writes wait
REST_RECORDS: Final = 16384
_SPANS: Final = {
    Role.PRIMARY: (Pointer.JOURNAL_OUT, Pointer.DURABLE),
    Role.SECONDARY: (Pointer.ALREADY_RESTORED, Pointer.ALREADY_READ),
}


def resize(appliance: Appliance, name: str, order: JournalResize) -> Group:
    """Give a group's journal another size. Given again it converges."""
    appliance.store.document.group(name)
    with appliance.locks.hold(pool=[f"journal of {name}"]):  # one at a time; not the group's lock: this may take long
        if not _begin(appliance, name, order):
            return show(appliance, name)
        try:
            carried = _prepare(appliance, name)
            with appliance.locks.hold(groups=[name]):
                _switch(appliance, name, carried)
        except OSError as error:
            raise StorageError(
                f"cannot move the journal of group {name}: {(error.strerror or str(error)).lower()}",
                hint="Look at that disk; the group goes on with the journal it has.",
                group=name,
            ) from error
        finally:
            with appliance.locks.hold(groups=[name]):
                settle(appliance, name)
    group = appliance.store.document.group(name)
    if group.role is Role.PRIMARY:
        serving.wait_served(appliance, plans.journal_server(name))
    words = f"journal of group {name} has {format_size(group.journal_bytes)} now"
    appliance.events.emit("info", "group.journal_resized", words, {"bytes": group.journal_bytes}, group=name)
    return show(appliance, name)


def settle(appliance: Appliance, name: str) -> None:
    """Finish a move whose rename was done, take back any other. Done twice it is done."""
    group = appliance.store.document.groups.get(name)
    if group is None or group.journal_move is None:
        return
    files = GroupPaths(appliance.paths.group(name))
    durable.remove(files.journal_next)  # from here on it cannot be put in place any more
    header = JournalVolume.header_of(group.journal_path)
    move = group.journal_move
    appliance.open_groups.renew(group)
    with appliance.store.change() as draft:
        record = draft.group(name)
        record.journal_move = None
        if header.journal_uuid == move.journal_uuid:
            record.journal_bytes, record.journal_pool = move.journal_bytes, move.pool
            record.journal_members = move.members
            storage.link_exports(record, files)
            record.composition = appliance.open_groups.get(record).composition()
    document = appliance.store.document
    group = document.group(name)
    if group.phase is Phase.READY and group.role is Role.SECONDARY:
        with suppress(PairvolError):  # what hinders it is told whenever the worker is asked for
            appliance.workers.start(group, document)
    elif group.phase is Phase.READY and plans.exports_journal(group):
        serving.serve_journal(appliance, group)


def _begin(appliance: Appliance, name: str, order: JournalResize) -> bool:
    """Check, and record the intent; False when the journal is as ordered already."""
    with appliance.locks.hold(groups=[name]):
        settle(appliance, name)
        group = appliance.store.document.group(name)
        _refuse(appliance, group)
        present = group.journal_members or [name for name in (group.journal_pool,) if name is not None]
        named = order.journal_volumes == present if order.journal_volumes else order.size_bytes is not None
        if named and order.size_bytes in (None, group.journal_bytes):
            return False
        with appliance.store.change() as draft:
            room = storage.choose_room(appliance, draft, name, order.size_bytes, order.journal_volumes)
            draft.group(name).journal_move = JournalMove(
                journal_bytes=room.size_bytes,
                pool=room.pool,
                members=list(room.members),
                path=room.path if room.pool is not None else None,
            )
        _name(appliance, name)
    return True


def _refuse(appliance: Appliance, group: GroupRecord) -> None:
    if group.role not in _SPANS or group.phase is not Phase.READY:
        raise ConflictError(
            f"cannot resize the journal of group {group.name}: it is {group.role} here ({group.phase})",
            hint="Only the journals of a primary and of a secondary are resized; pair the sites again first.",
            group=group.name,
            role=str(group.role),
        )
    if group.role is Role.PRIMARY and not group.acquisition:
        raise ConflictError(
            f"cannot resize the journal of group {group.name}: acquisition is off",
            hint=f'Start it first: "pairvol journal start {group.name}".',
            group=group.name,
        )


def _name(appliance: Appliance, name: str) -> None:
    """A journal on a pool volume gets the name in the group's directory that can be given to another volume."""
    group = appliance.store.document.group(name)
    files = GroupPaths(appliance.paths.group(name))
    if group.journal_path == str(files.journal):
        return
    _link(group.journal_path, files.journal)
    with appliance.store.change() as draft:
        draft.group(name).journal_path = str(files.journal)
    document = appliance.store.document
    group = document.group(name)
    storage.link_exports(group, files)
    if plans.serves_volumes(group) and group.role is Role.PRIMARY:
        server = plans.group_server(group)
        told = plans.group_document(group, document, appliance.config, appliance.paths)
        serving.tell(appliance, server, told)


def _prepare(appliance: Appliance, name: str) -> Position:
    """Lay out the new volume and carry over what is there now; up to where."""
    group = appliance.store.document.group(name)
    move = group.journal_move
    assert move is not None
    files = GroupPaths(appliance.paths.group(name))
    wanted = {"journal_bytes": move.journal_bytes, "journal_members": move.members}
    header = storage.lay_out(appliance, group.model_copy(update=wanted), move.path or str(files.journal_next))
    if move.path is not None:
        _link(move.path, files.journal_next)
    durable.sync_directory(files.directory)
    with appliance.store.change() as draft:
        record = draft.group(name).journal_move
        assert record is not None
        record.journal_uuid = header.journal_uuid
    begin, end = _SPANS[group.role]

    def carry(old: JournalVolume, new: JournalVolume, page: PointerPage) -> Position:
        carried = page.read(begin)
        for _ in range(PASSES_MAX):
            carried = moving.carry(old, new, carried, page.read(end), lambda: page.read(begin))
            behind = page.read(end)
            if (
                behind.sequence - carried.sequence <= REST_RECORDS
                and behind.data_position - carried.data_position <= REST_BLOCKS
            ):
                break
        return carried

    return _with_both(group, files, carry)


def _switch(appliance: Appliance, name: str, carried: Position) -> None:
    """Carry over the rest where nothing more is written, and give the new volume the journal's name."""
    document = appliance.store.document
    group = document.group(name)
    _refuse(appliance, group)
    files = GroupPaths(appliance.paths.group(name))
    if group.role is Role.PRIMARY:
        # Whoever reads the old volume must not go on reading it as if it were the journal.
        appliance.servers.stop(plans.journal_server(name))
        server = plans.group_server(group)
        settings = plans.journal_settings(group, appliance.config, appliance.paths)
        laid_out = str(files.journal_next)
        serving.command(appliance, server, "move_journal", journal=settings, laid_out=laid_out, carried=asdict(carried))
        return
    appliance.workers.stop(name)
    begin, end = _SPANS[group.role]

    def carry(old: JournalVolume, new: JournalVolume, page: PointerPage) -> Position:
        return moving.carry(old, new, carried, page.read(end), lambda: page.read(begin))

    _with_both(group, files, carry)
    os.rename(files.journal_next, files.journal)
    durable.sync_directory(files.directory)


def _with_both(
    group: GroupRecord, files: GroupPaths, act: Callable[[JournalVolume, JournalVolume, PointerPage], Position]
) -> Position:
    """Do it with both volumes open; durable in the new one, as are the pointers that it went by."""
    with ExitStack() as stack:
        page = PointerPage.open(str(files.pointers))
        stack.callback(page.close)
        old = JournalVolume.open(str(files.journal), writable=False, group_uuid=group.uuid)
        stack.callback(old.close)
        new = JournalVolume.open(str(files.journal_next), writable=True, group_uuid=group.uuid)
        stack.callback(new.close)
        position = act(old, new, page)
        new.sync()
        page.persist()
    return position


def _link(target: str, name: Path) -> None:
    """A symbolic link, durably; one that is there is replaced."""
    fresh = name.with_name(f".{name.name}.new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    os.rename(fresh, name)
    durable.sync_directory(name.parent)
