"""Volumes: create, show and delete them.

Owns the life of a volume's record and of backing stores that we made. A
backing store given by the user is checked, and never formatted, truncated or
removed. How a volume is served is controller/serving.py's.
"""

from __future__ import annotations

import errno
import os
import stat
import tempfile
import uuid
from contextlib import suppress
from pathlib import Path

from controller import durable, plans, serving
from controller.api.models import ServerState, Volume, VolumeCreate
from controller.appliance import Appliance
from controller.errors import CapacityError, ConflictError, NotFoundError, PairvolError, StorageError, UsageError
from controller.journal.access import volume_size_bytes
from controller.journal.layout import BLOCK_BYTES
from controller.state import Phase, StateDocument, VolumeRecord
from controller.units import format_size


def show(appliance: Appliance, name: str) -> Volume:
    return _view(appliance, appliance.store.document, appliance.store.document.volume(name))


def show_all(appliance: Appliance) -> list[Volume]:
    document = appliance.store.document
    return [_view(appliance, document, volume) for _, volume in sorted(document.volumes.items())]


def create(appliance: Appliance, request: VolumeCreate) -> Volume:
    """Make a volume and serve it. It is there, durably, or not at all."""
    server = plans.new_own_server(appliance.store.document, request.name)
    appliance.paths.check_server(server)
    with appliance.locks.hold(volumes=[request.name]):
        if request.name in appliance.store.document.volumes:
            raise ConflictError(
                f"volume {request.name} already exists", hint="Choose another name.", volume=request.name
            )
        record = new_record(appliance, request.name, request.size_bytes, request.backing)
        record.phase = Phase.CREATING
        record.server = server if server != plans.own_server(record) else None
        with appliance.store.change() as document:
            refuse_shared(document, record.backing)
            document.volumes[request.name] = record
        try:
            make_backing(record)
            with appliance.store.change() as document:
                document.volume(request.name).phase = Phase.READY
            serving.serve(appliance, server, plans.own_document(record, appliance.paths))
            serving.wait_served(appliance, server)
        except PairvolError:
            remove(appliance, request.name)
            raise
    appliance.events.emit("info", "volume.created", f"volume {request.name} created", {"volume": request.name})
    return show(appliance, request.name)


def delete(appliance: Appliance, name: str) -> None:
    """Remove a volume; its data goes with it when the backing store is ours."""
    with appliance.locks.hold(volumes=[name]):
        document = appliance.store.document
        document.volume(name)
        group = document.group_of(name)
        if group is not None:
            raise ConflictError(
                f"cannot delete volume {name}: it is in group {group.name}",
                hint=f'Delete the pair first: "pairvol pair delete {group.name}".',
                volume=name,
                group=group.name,
            )
        serving.refuse_connected(appliance, plans.own_server(document.volume(name)), f"delete volume {name}")
        remove(appliance, name)
    appliance.events.emit("info", "volume.deleted", f"volume {name} deleted", {"volume": name})


def remove(appliance: Appliance, name: str) -> None:
    """End the server, remove what is ours, forget the volume; finishes what was begun before."""
    with appliance.store.change() as document:
        if name not in document.volumes:
            return
        document.volume(name).phase = Phase.DELETING
    record = appliance.store.document.volume(name)
    serving.retire(appliance, plans.own_server(record))
    if record.owned:
        durable.remove(record.backing)
    with appliance.store.change() as document:
        del document.volumes[name]


def new_record(appliance: Appliance, name: str, size_bytes: int, backing: str | None) -> VolumeRecord:
    """A checked record; nothing is made yet."""
    if size_bytes % BLOCK_BYTES:
        raise UsageError(
            f"size {size_bytes} of volume {name} is not a multiple of {BLOCK_BYTES}",
            hint=f"Give {-(-size_bytes // BLOCK_BYTES) * BLOCK_BYTES} bytes instead.",
        )
    if backing is not None:
        check_backing(backing, size_bytes)
        path, owned = os.path.realpath(backing), False
    else:
        path, owned = str(appliance.paths.volume_image(name)), True
        refuse_too_long(path, size_bytes)
        if os.path.lexists(path):
            raise ConflictError(
                f"cannot create volume {name}: {path} is there but belongs to no volume",
                hint="Move that file away, or give it as --backing.",
                path=path,
            )
    return VolumeRecord(name=name, uuid=str(uuid.uuid4()), size_bytes=size_bytes, backing=path, owned=owned)


def check_backing(path: str, size_bytes: int) -> None:
    """Refuse what cannot back a volume: wrong kind, too short, in use by the kernel."""
    if "://" in path or not os.path.isabs(path):
        raise UsageError(
            f"backing {path} is not an absolute path", hint="Give the path of an existing file or block device."
        )
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        kind = os.stat(path).st_mode
        if not (stat.S_ISREG(kind) or stat.S_ISBLK(kind)):
            raise UsageError(f"backing {path} is neither a file nor a block device", hint="Give one of these.")
        # O_EXCL on a block device is refused while a file system or another owner has it.
        file = os.open(path, flags | (os.O_EXCL if stat.S_ISBLK(kind) else 0))
    except FileNotFoundError as error:
        raise NotFoundError(
            f"backing {path} does not exist", hint="Make it first, or give a size alone to have one made."
        ) from error
    except OSError as error:
        raise ConflictError(
            f"cannot use backing {path}: {os.strerror(error.errno or 0).lower()}",
            hint="It must not be mounted or in use, and writable for the controller.",
            path=path,
        ) from error
    os.close(file)
    if size_bytes:
        check_length(path, size_bytes)


def check_length(path: str, size_bytes: int) -> None:
    """CapacityError when a store given by the user is too short; it is never made longer."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        present = volume_size_bytes(file)
    finally:
        os.close(file)
    if present < size_bytes:
        raise CapacityError(
            f"backing {path} is {present} bytes long, the volume needs {size_bytes}",
            hint="Give a smaller size or a larger backing; it is never changed here.",
            path=path,
        )


def refuse_too_long(path: str, size_bytes: int) -> None:
    """CapacityError when no file beside `path` can be that long; asked of the file system, with a nameless file."""
    try:
        with tempfile.TemporaryFile(dir=Path(path).parent) as file:
            os.ftruncate(file.fileno(), size_bytes)
    except OverflowError:
        pass
    except OSError as error:
        if error.errno not in (errno.EFBIG, errno.EINVAL):
            return  # who makes the file says what hinders it
    else:
        return
    raise CapacityError(
        f"no file at {Path(path).parent} can be {format_size(size_bytes)} long",
        hint="Give a smaller size, or an existing block device.",
        path=path,
        size_bytes=size_bytes,
    )


def make_backing(record: VolumeRecord) -> None:
    """Make the sparse file of a volume of ours, durably; one made before is left as it is."""
    if not record.owned:
        return
    try:
        file = os.open(record.backing, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(file, record.size_bytes)
            os.fsync(file)
        finally:
            os.close(file)
        durable.sync_directory(Path(record.backing).parent)
    except OSError as error:
        with suppress(OSError):
            os.unlink(record.backing)
        raise StorageError(
            f"cannot make volume {record.name}: {os.strerror(error.errno or 0).lower()}",
            hint="Look at the file system of the state directory.",
            path=record.backing,
        ) from error


def refuse_shared(document: StateDocument, path: str) -> None:
    """Two users of one store would destroy each other's data."""
    for kind, things in (("volume", document.volumes), ("pool volume", document.pool)):
        for thing in things.values():
            store = thing.backing if isinstance(thing, VolumeRecord) else thing.path
            if store == path or _same(store, path):
                raise ConflictError(
                    f"{path} is already used by {kind} {thing.name}", hint="Give another one.", path=path
                )


def _same(first: str, second: str) -> bool:
    """Whether two paths lead to one file or to one device."""
    try:
        left, right = os.stat(first), os.stat(second)
    except OSError:
        return False
    if stat.S_ISBLK(left.st_mode) and stat.S_ISBLK(right.st_mode):
        return left.st_rdev == right.st_rdev
    return (left.st_dev, left.st_ino) == (right.st_dev, right.st_ino)


def _view(appliance: Appliance, document: StateDocument, volume: VolumeRecord) -> Volume:
    group = document.group_of(volume.name)
    server = plans.server_of(document, volume.name)
    role = group.role if group is not None else None
    state = appliance.servers.state(server) if server is not None else ServerState.STOPPED
    return Volume(
        name=volume.name,
        uuid=volume.uuid,
        size_bytes=volume.size_bytes,
        backing=volume.backing,
        group=group.name if group is not None else None,
        role=role,
        writable=group is None or (plans.serves_volumes(group) and plans.writable(group)),
        uri=appliance.paths.volume_uri(server, volume.name) if server is not None else None,
        server=state,
        failure=appliance.servers.failure(server) if server is not None else None,
    )
