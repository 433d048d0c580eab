"""Opens the backing stores of the volumes that one server serves."""

from __future__ import annotations

import fcntl
from collections.abc import Sequence
from contextlib import ExitStack

from controller.errors import ConflictError
from controller.volume.backing import Backing
from controller.volume.host_path import ServedVolume
from controller.volume.settings import VolumeSettings


def open_volumes(settings: Sequence[VolumeSettings]) -> list[ServedVolume]:
    """Open the backing stores, each for this server alone."""
    with ExitStack() as undo:
        volumes = []
        for volume in settings:
            backing = Backing.open(volume.path, volume.size_bytes)
            undo.callback(backing.close)
            try:
                fcntl.flock(backing.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ConflictError(
                    f"backing store {volume.path} is in use by another process",
                    hint="One server serves a volume; end the other one first.",
                    path=volume.path,
                ) from None
            volumes.append(ServedVolume(volume.index, volume.name, volume.size_bytes, backing, volume.writable))
        undo.pop_all()
        return volumes
