"""The pool: unused volumes from which journals are chosen.

Owns the records of pool volumes and the files that we made for them. What is
in a journal on them is the journal's business; a pool volume in use is never
removed, and a path given by the user is never deleted.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from controller import durable
from controller.api.models import PoolAdd, PoolVolume
from controller.appliance import Appliance
from controller.errors import CapacityError, ConflictError, UsageError
from controller.journal.access import volume_size_bytes
from controller.journal.layout import SIZE_BYTES_MIN
from controller.journal.written import write_whole
from controller.state import Phase, PoolRecord, StateDocument
from controller.volumes import check_backing, refuse_shared, refuse_too_long


def show_all(appliance: Appliance) -> list[PoolVolume]:
    return [_view(record) for _, record in sorted(appliance.store.document.pool.items())]


def add(appliance: Appliance, request: PoolAdd) -> PoolVolume:
    """Put a volume at the disposal of journals: an existing path, or a file made and allocated here."""
    with appliance.locks.hold(pool=[request.name]):
        if request.name in appliance.store.document.pool:
            raise ConflictError(f"pool volume {request.name} already exists", hint="Choose another name.")
        record = _new_record(appliance, request)
        with appliance.store.change() as document:
            refuse_shared(document, record.path)
            document.pool[request.name] = record
        if record.owned:
            try:
                _allocate(record)
            except BaseException:
                forget(appliance, request.name)
                raise
            with appliance.store.change() as document:
                document.pool_volume(request.name).phase = Phase.READY
    appliance.events.emit("info", "pool.added", f"pool volume {request.name} added", {"pool": request.name})
    return _view(appliance.store.document.pool_volume(request.name))


def remove(appliance: Appliance, name: str) -> None:
    """Take a volume out of the pool; refused while a journal lies on it."""
    with appliance.locks.hold(pool=[name]):
        document = appliance.store.document
        document.pool_volume(name)
        user = document.pool_user(name)
        if user is not None:
            raise ConflictError(
                f"cannot remove pool volume {name}: it holds the journal of group {user.name}",
                hint=f'Delete the pair first: "pairvol pair delete {user.name}".',
                pool=name,
                group=user.name,
            )
        forget(appliance, name)
    appliance.events.emit("info", "pool.removed", f"pool volume {name} removed", {"pool": name})


def forget(appliance: Appliance, name: str) -> None:
    """Remove what is ours and the record; finishes what was begun before."""
    with appliance.store.change() as document:
        document.pool_volume(name).phase = Phase.DELETING
    record = appliance.store.document.pool_volume(name)
    if record.owned:
        durable.remove(record.path)
    with appliance.store.change() as document:
        del document.pool[name]


def choose(document: StateDocument, name: str | None, size_bytes: int) -> PoolRecord | None:
    """The pool volume for a journal: the named one, or the smallest unused that is large enough; None: none fits."""
    if name is not None:
        record = document.pool_volume(name)
        user = document.pool_user(name)
        if user is not None:
            raise ConflictError(
                f"pool volume {name} holds the journal of group {user.name}", hint="Name an unused one.", pool=name
            )
        if record.size_bytes < size_bytes:
            raise CapacityError(
                f"pool volume {name} has {record.size_bytes} bytes, the journal needs {size_bytes}",
                hint="Name a larger one, or give a smaller journal size.",
                pool=name,
            )
        return record
    fitting = [
        record
        for record in document.pool.values()
        if record.phase is Phase.READY and record.size_bytes >= size_bytes and not document.pool_user(record.name)
    ]
    return min(fitting, key=lambda record: record.size_bytes, default=None)


def _new_record(appliance: Appliance, request: PoolAdd) -> PoolRecord:
    if (request.path is None) == (request.size_bytes is None):
        raise UsageError(
            f"pool volume {request.name} needs either a path or a size",
            hint="Give the path of an existing file or block device, or a size to make one.",
        )
    if request.path is not None:
        check_backing(request.path, 0)
        path = os.path.realpath(request.path)
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            size_bytes = volume_size_bytes(file)
        finally:
            os.close(file)
        phase = Phase.READY
    else:
        path, size_bytes, phase = str(appliance.paths.pool_image(request.name)), request.size_bytes or 0, Phase.CREATING
        if os.path.lexists(path):
            raise ConflictError(f"{path} is there but belongs to no pool volume", hint="Move that file away.")
        refuse_too_long(path, size_bytes)
    if size_bytes < SIZE_BYTES_MIN:
        raise CapacityError(
            f"pool volume {request.name} of {size_bytes} bytes is too small for a journal",
            hint=f"It needs at least {SIZE_BYTES_MIN} bytes.",
        )
    return PoolRecord(name=request.name, path=path, size_bytes=size_bytes, owned=request.path is None, phase=phase)


def _allocate(record: PoolRecord) -> None:
    file = os.open(record.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(file, 0, record.size_bytes)
        write_whole(file, record.size_bytes)
        os.fsync(file)
        durable.sync_directory(Path(record.path).parent)
    except OSError as error:
        with suppress(OSError):
            os.unlink(record.path)
        raise CapacityError(
            f"cannot allocate {record.size_bytes} bytes for pool volume {record.name}: "
            f"{os.strerror(error.errno or 0).lower()}",
            hint="Free room on that file system, or give a smaller size.",
        ) from error
    finally:
        os.close(file)


def _view(record: PoolRecord) -> PoolVolume:
    return PoolVolume(name=record.name, path=record.path, size_bytes=record.size_bytes)
