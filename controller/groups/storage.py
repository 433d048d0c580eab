"""Room for a group's journal: chosen, made, and given back.

Owns the files in the group's directory and the choice between a pool volume
and a file there. Nothing is started on too little room: CapacityError comes
before the first byte is written.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress

from controller import durable, pool
from controller.api.models import GroupCreate
from controller.appliance import Appliance
from controller.errors import CapacityError, UsageError
from controller.journal.layout import BLOCK_BYTES, SIZE_BYTES_MIN
from controller.journal.pointers import PointerPage
from controller.journal.volume import JournalVolume
from controller.paths import GroupPaths
from controller.state import GroupRecord, StateDocument
from controller.units import format_size

DISK_RESERVE_BYTES = 16 << 20  # what a file system needs beside the file itself


def choose_journal(appliance: Appliance, document: StateDocument, request: GroupCreate) -> tuple[str, int, str | None]:
    """(path, bytes, pool volume) for the journal of a new group."""
    volumes_bytes = sum(volume.size_bytes for volume in request.volumes)
    size_bytes = request.journal_bytes
    if not request.journal_volumes:
        size_bytes = size_bytes or appliance.config.journal.default_bytes(volumes_bytes)
    return choose_room(appliance, document, request.name, size_bytes, request.journal_volumes)


def choose_room(
    appliance: Appliance, document: StateDocument, group: str, size_bytes: int | None, pool_volumes: list[str]
) -> tuple[str, int, str | None]:
    """(path, bytes, pool volume) for a journal.

    The pool volume that the command names, as large as it is; else the
    smallest unused one that is large enough; else a file of our own.
    """
    if len(pool_volumes) > 1:
        raise UsageError(
            f"group {group} names {len(pool_volumes)} journal volumes",
            hint="Name one; a journal made of several volumes is not there yet.",
        )
    if size_bytes is not None and size_bytes % BLOCK_BYTES:
        raise UsageError(f"journal size {size_bytes} is not a multiple of {BLOCK_BYTES}", hint="Round it.")
    if pool_volumes:
        named = pool.choose(document, pool_volumes[0], size_bytes or 0)
        assert named is not None
        return named.path, size_bytes or named.size_bytes // BLOCK_BYTES * BLOCK_BYTES, named.name
    if size_bytes is None:
        raise UsageError(f"no size is given for the journal of group {group}", hint="Give a size such as 8G.")
    if size_bytes < SIZE_BYTES_MIN:
        raise CapacityError(
            f"a journal of {size_bytes} bytes is too small", hint=f"Give at least {format_size(SIZE_BYTES_MIN)}."
        )
    chosen = pool.choose(document, None, size_bytes)
    if chosen is not None:
        return chosen.path, size_bytes, chosen.name
    _check_room(appliance, group, size_bytes)
    return str(GroupPaths(appliance.paths.group(group)).journal), size_bytes, None


def make_journal(appliance: Appliance, group: GroupRecord) -> None:
    """Allocate and lay out the journal volume, the pointer page and the export directory; durable."""
    files = GroupPaths(appliance.paths.group(group.name))
    files.export.mkdir(parents=True, exist_ok=True, mode=0o700)
    JournalVolume.create(group.journal_path, group.journal_bytes, group.uuid, group.generation)
    PointerPage.create(str(files.pointers)).close()
    link_exports(group, files)


def link_exports(group: GroupRecord, files: GroupPaths) -> None:
    """Let the journal server export the journal and the pointer page of now; durable."""
    for name, target in (("journal", group.journal_path), ("pointers", str(files.pointers))):
        link = files.export / name
        if not link.is_symlink() or os.readlink(link) != target:
            link.unlink(missing_ok=True)
            link.symlink_to(target)
    for directory in (files.export, files.directory, files.directory.parent):
        durable.sync_directory(directory)


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
