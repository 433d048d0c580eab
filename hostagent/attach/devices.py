"""Attached volumes of this host: attach, detach, and what an earlier agent left.

Owns the choice of the method and the rules for who may attach and detach.
A device survives the agent: the next one finds it in its records.
"""

from __future__ import annotations

import threading
from pathlib import Path

from controller.api.models import Role, Volume
from controller.errors import ConflictError, NotFoundError, PairvolError
from hostagent.api.models import Attachment, AttachOrder
from hostagent.attach import methods, system
from hostagent.attach.record import METHOD_FUSE, METHOD_KERNEL, METHOD_URI, Record, Records


class Devices:
    """Any thread may call; one change at a time."""

    def __init__(self, path: Path, mount_directory: Path) -> None:
        self._records = Records(path)
        self._mount_directory = mount_directory
        self._lock = threading.RLock()
        self._stale: set[str] = set()

    def shown(self) -> list[Attachment]:
        with self._lock:
            return [_shown(record) for record in self._records.all()]

    def attach(self, volume: Volume, order: AttachOrder) -> Attachment:
        """Make a device of a volume; one that is attached in that way already answers with what there is.

        An address that was only asked for is no device, and gives way to one.
        """
        refuse_attach(volume, readonly=order.readonly)
        assert volume.uri is not None
        with self._lock:
            known = self._records.find(volume.name)
            if known is not None:
                if known.uri == volume.uri and methods.stale(known) is None and known.method != METHOD_URI:
                    refuse_otherwise(known, order)
                    return _shown(known)
                self._undo(known)
            record = Record(
                volume=volume.name,
                uri=volume.uri,
                method=METHOD_URI if order.uri_only else choose_method(),
                readonly=order.readonly,
            )
            if record.method == METHOD_FUSE:
                record.mount_point = str(self._mount_directory / volume.name)
            self._records.put(record)
            try:
                return _shown(methods.attach(record, self._records.put))
            except BaseException:
                kept = self._records.find(volume.name)
                if kept is not None:
                    self._undo(kept)
                raise

    def detach(self, volume: str) -> None:
        """Undo everything, in order; refused while the device is in use."""
        with self._lock:
            record = self._records.find(volume)
            if record is None:
                raise NotFoundError(f"volume {volume} is not attached here", hint='See "pairvol volume list".')
            self._undo(record)

    def refuse_used(self, volume: str) -> None:
        """ConflictError while `detach` would be refused."""
        with self._lock:
            record = self._records.find(volume)
            if record is not None and record.device is not None and not self._foreign(record):
                refuse_in_use(record.volume, record.device)

    def adopt(self) -> list[str]:
        """At start: go on with what an earlier agent attached, clear what is of no use; one line for each cleared."""
        told = []
        with self._lock:
            for record in self._records.all():
                reason = methods.stale(record)
                if reason is None:
                    continue
                try:
                    self._undo(record)
                    told.append(f"attachment of {record.volume} cleared: {reason}")
                except PairvolError as error:
                    told.append(f"attachment of {record.volume} is of no use ({reason}) and stays: {error.message}")
        return told

    def newly_stale(self) -> list[str]:
        """One line for each attachment that has become useless since this was asked last."""
        with self._lock:
            reasons = {record.volume: methods.stale(record) for record in self._records.all() if record.complete}
            stale = {volume for volume, reason in reasons.items() if reason is not None}
            told = [f"attachment of {name} is of no use: {reasons[name]}" for name in sorted(stale - self._stale)]
            self._stale = stale
            return told

    def forget_address(self, volume: str) -> None:
        """A volume is gone, and with it an address that was only asked for."""
        with self._lock:
            record = self._records.find(volume)
            if record is not None and record.method == METHOD_URI:
                self._records.remove(volume)

    def _undo(self, record: Record) -> None:
        if record.device is not None and not self._foreign(record):
            refuse_in_use(record.volume, record.device)
        methods.undo(record)
        self._records.remove(record.volume)

    def _foreign(self, record: Record) -> bool:
        """Whether the device of a record has gone to somebody else since."""
        return (
            record.method == METHOD_FUSE
            and record.device is not None
            and system.loop_backing(record.device) != f"{record.mount_point}/nbd"
        )


def refuse_attach(volume: Volume, *, readonly: bool) -> None:
    """ConflictError for a volume that hosts must not have now."""
    if volume.role is Role.SECONDARY and volume.uri is None:
        raise ConflictError(
            f"cannot attach {volume.name}: it is the secondary of {volume.group}, replication writes to it",
            hint=f'Take over first ("pairvol pair takeover {volume.group}"), or look at an image of it '
            f'("pairvol drill start {volume.group}").',
            volume=volume.name,
            group=volume.group,
        )
    if volume.role is Role.SECONDARY and not (volume.writable or readonly):
        raise ConflictError(
            f"cannot attach {volume.name} for writing: {volume.group} is split, its secondary is readable",
            hint=f'Add --readonly, or let hosts write it: "pairvol pair split {volume.group} --rw".',
            volume=volume.name,
            group=volume.group,
        )
    if volume.role is Role.FENCED:
        raise ConflictError(
            f"cannot attach {volume.name}: {volume.group} was taken over by the other site, this one serves nobody",
            hint=f'Attach it there; "pairvol pair status {volume.group}" says how this site comes back.',
            volume=volume.name,
            group=volume.group,
        )
    if volume.uri is None:
        raise ConflictError(
            f"cannot attach {volume.name}: it is not served ({volume.failure or volume.server})",
            hint="Look at the log of the storage controller.",
            volume=volume.name,
        )


def refuse_otherwise(known: Record, order: AttachOrder) -> None:
    """ConflictError when what is attached is not what is asked for; it may be in use, and is never changed."""
    name = known.volume
    if order.uri_only:
        raise ConflictError(
            f"cannot give the address alone of {name}: it is attached as {known.device}",
            hint=f'Detach it first: "pairvol volume detach {name}"; "pairvol volume show {name}" has its address.',
            volume=name,
            device=known.device,
        )
    if known.readonly != order.readonly:
        is_, asked = ("read-only", "for writing") if known.readonly else ("for writing", "read-only")
        raise ConflictError(
            f"cannot attach {name} {asked}: it is attached {is_}, as {known.device}",
            hint=f'Unmount it, then "pairvol volume detach {name}", and attach it again.',
            volume=name,
            device=known.device,
        )


def refuse_in_use(volume: str, device: str) -> None:
    points = system.mount_points(device)
    if points:
        raise ConflictError(
            f"cannot detach {volume}: {device} is mounted at {', '.join(points)}",
            hint=f'Unmount it first: "umount {points[0]}".',
            volume=volume,
            device=device,
        )
    elsewhere = system.mounted_elsewhere(device)
    if elsewhere:
        process, points = elsewhere
        raise ConflictError(
            f"cannot detach {volume}: {device} is mounted at {', '.join(points)} in the mount namespace of "
            f"process {process} ({system.name_of(process)})",
            hint=f'Unmount it there: "nsenter --mount --target {process} umount {points[0]}", or end that process.',
            volume=volume,
            device=device,
        )
    above = system.holders(device)
    if above:
        raise ConflictError(
            f"cannot detach {volume}: {', '.join(above)} is built upon {device}",
            hint="Take that down first.",
            volume=volume,
            device=device,
        )


def choose_method() -> str:
    """Kernel nbd where there is one, else nbdfuse and a loop device."""
    if system.kernel_nbd():
        return METHOD_KERNEL
    if system.fuse_and_loop():
        return METHOD_FUSE
    raise ConflictError(
        "this host cannot make block devices: neither kernel nbd nor nbdfuse with loop devices works here",
        hint='Run "pairvol check" as root, or ask for the NBD address only (--uri).',
    )


def _shown(record: Record) -> Attachment:
    reason = methods.stale(record)
    facts = {
        "readonly": record.readonly,
        "mount_point": record.mount_point,
        "pid": system.fuse_pid(record.mount_point) if record.mount_point else None,
        "stale": reason,
        "mounted_at": system.mount_points(record.device) if record.device else [],
    }
    return Attachment(
        volume=record.volume,
        device=record.device,
        uri=record.uri,
        method=record.method,
        facts={name: value for name, value in facts.items() if value not in (None, [])},
    )
