"""Room for a group's journal: chosen, made, and given back.

Owns the files in the group's directory and the choice between a pool volume
and a file there. Nothing is started on too little room: CapacityError comes
before the first byte is written.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from typing import NamedTuple

from controller import durable, pool
from controller.api.models import GroupCreate
from controller.appliance import Appliance
from controller.errors import CapacityError, UsageError
from controller.journal import spanned
from controller.journal.layout import BLOCK_BYTES, SIZE_BYTES_MIN, Header
from controller.journal.members import Member, members_of
from controller.journal.pointers import PointerPage
from controller.journal.volume import JournalVolume
from controller.paths import GroupPaths
from controller.state import GroupRecord, StateDocument
from controller.units import format_size

DISK_RESERVE_BYTES = 16 << 20  # what a file system needs beside the file itself


class Room(NamedTuple):
    """Where a journal is to lie."""

    path: str
    size_bytes: int
    pool: str | None = None  # the pool volume
    members: tuple[str, ...] = ()  # the pool volumes, when there are several


def choose_journal(appliance: Appliance, document: StateDocument, request: GroupCreate) -> Room:
    """Room for the journal of a new group."""
    volumes_bytes = sum(volume.size_bytes for volume in request.volumes)
    size_bytes = request.journal_bytes
    if not request.journal_volumes:
        size_bytes = size_bytes or appliance.config.journal.default_bytes(volumes_bytes)
    return choose_room(appliance, document, request.name, size_bytes, request.journal_volumes)


def choose_room(
    appliance: Appliance, document: StateDocument, group: str, size_bytes: int | None, pool_volumes: list[str]
) -> Room:
    """Room for a journal.

    The pool volumes that the command names, as large as they are; else the
    smallest unused one that is large enough; else a file of our own.
    """
    path = str(GroupPaths(appliance.paths.group(group)).journal)
    if size_bytes is not None and size_bytes % BLOCK_BYTES:
        raise UsageError(f"journal size {size_bytes} is not a multiple of {BLOCK_BYTES}", hint="Round it.")
    if len(pool_volumes) > 1:
        return Room(path, _sum(document, group, size_bytes, pool_volumes), None, tuple(pool_volumes))
    if pool_volumes:
        named = pool.choose(document, pool_volumes[0], size_bytes or 0)
        assert named is not None
        return Room(named.path, size_bytes or named.size_bytes // BLOCK_BYTES * BLOCK_BYTES, named.name)
    if size_bytes is None:
        raise UsageError(f"no size is given for the journal of group {group}", hint="Give a size such as 8G.")
    if size_bytes < SIZE_BYTES_MIN:
        raise CapacityError(
            f"a journal of {size_bytes} bytes is too small", hint=f"Give at least {format_size(SIZE_BYTES_MIN)}."
        )
    chosen = pool.choose(document, None, size_bytes)
    if chosen is not None:
        return Room(chosen.path, size_bytes, chosen.name)
    _check_room(appliance, group, size_bytes)
    return Room(path, size_bytes)


def _sum(document: StateDocument, group: str, size_bytes: int | None, names: list[str]) -> int:
    """The bytes of several pool volumes, each of them unused."""
    if len(set(names)) != len(names):
        raise UsageError(f"the journal of group {group} names a pool volume twice", hint="Name each once.")
    total = 0
    for name in names:
        named = pool.choose(document, name, 0)
        assert named is not None
        total += named.size_bytes
    if size_bytes is not None and size_bytes > total:
        raise CapacityError(
            f"pool volumes {', '.join(names)} have {total} bytes, the journal needs {size_bytes}",
            hint="Name more of them, or leave the size out: they are used whole.",
        )
    return total


def make_journal(appliance: Appliance, group: GroupRecord) -> None:
    """Allocate and lay out the journal volume, the pointer page and the export directory; durable."""
    files = GroupPaths(appliance.paths.group(group.name))
    with durable.refusals(files.export):
        files.export.mkdir(parents=True, exist_ok=True, mode=0o700)
    lay_out(appliance, group)
    PointerPage.create(str(files.pointers)).close()
    link_exports(group, files)


def lay_out(appliance: Appliance, group: GroupRecord, path: str | None = None) -> Header:
    """An empty journal under the group's generation, where its record says; `path` for another document of several."""
    if group.journal_members:
        document = appliance.store.document
        sources = [document.pool_volume(name).path for name in group.journal_members]
        return spanned.create(path or group.journal_path, sources, group.uuid, group.generation)
    return JournalVolume.create(path or group.journal_path, group.journal_bytes, group.uuid, group.generation)


def link_exports(group: GroupRecord, files: GroupPaths) -> None:
    """Let the journal server export the journal and the pointer page of now; durable.

    Of a journal of several volumes each is an export of its own. StorageError
    when the disk refuses; given again it converges.
    """
    members = members_of(group.journal_path) or [Member(group.journal_path, 0)]
    targets = {f"journal.{number}" if number else "journal": each.path for number, each in enumerate(members)}
    targets["pointers"] = str(files.pointers)
    try:
        for stale in set(os.listdir(files.export)) - targets.keys():
            (files.export / stale).unlink()
        for name, target in targets.items():
            link = files.export / name
            if not link.is_symlink() or os.readlink(link) != target:
                link.unlink(missing_ok=True)
                link.symlink_to(target)
        for directory in (files.export, files.directory, files.directory.parent):
            durable.sync_directory(directory)
    except OSError as error:  # of a link it would name what that leads to
        raise durable.refused(files.export, error) from error


def check_journal_room(appliance: Appliance, group: GroupRecord) -> None:
    """Refuse to make a journal that the disk has no room for; one that is there takes no more."""
    if not os.path.exists(group.journal_path):
        _check_room(appliance, group.name, group.journal_bytes)


def remove_journal(appliance: Appliance, group: GroupRecord) -> None:
    """Remove the group's files; a pool volume is only left alone. Done twice it is done."""
    appliance.open_groups.drop(group)
    directory = appliance.paths.group(group.name)
    with suppress(FileNotFoundError):
        shutil.rmtree(directory)
        durable.sync_directory(directory.parent)


def _check_room(appliance: Appliance, group: str, size_bytes: int) -> None:
    disk = os.statvfs(appliance.paths.state)
    free = disk.f_bavail * disk.f_frsize
    if free < size_bytes + DISK_RESERVE_BYTES:
        raise CapacityError(
            f"no room for the journal of group {group}: {format_size(size_bytes)} and "
            f"{format_size(DISK_RESERVE_BYTES)} to spare needed, {format_size(free)} free at {appliance.paths.state}",
            hint="Give a smaller journal size, name a pool volume, or free room there.",
            group=group,
            free_bytes=free,
        )
