"""nbdkit plugin: RAM disks that log every write, zero, trim and flush, in one order over all of them.

    nbdkit python tests/crash/log_disk/plugin.py log=FILE faults=FILE disk=NAME:IMAGE [disk=...]

Each export begins as a copy of its image file, which stays as it is. A flush
speaks of its own export alone: files on two disks have no order between them
but what their syncs give. Requests are served one at a time, so the order of
the log is the order on the disks. While the faults file is there, requests
that a line of it names ("DISK write|flush|read ERRNO") fail; a flush that
fails has lost what it should have kept, and is logged as that. Runs in nbdkit's interpreter; knows nothing
of what lies on the disks.
"""

import os
import struct
import time

import nbdkit

API_VERSION = 2

# One entry, then its data when it is a write: monotonic ns, offset, length, disk (in order of the command line), kind.
ENTRY = struct.Struct("<QQIHH")
WRITE, ZERO, FLUSH, LOST = 1, 2, 3, 4

_names: list[str] = []
_disks: list[bytearray] = []
_log = -1
_faults = ""


def config(key: str, value: str) -> None:
    global _log, _faults
    if key == "log":
        _log = os.open(value, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    elif key == "faults":
        _faults = value
    elif key == "disk":
        name, _, image = value.partition(":")
        with open_file(image, "rb") as file:
            _names.append(name)
            _disks.append(bytearray(file.read()))
    else:
        raise ValueError(f"unknown parameter {key}")


open_file = open  # nbdkit takes the name `open` for its own callback


def thread_model() -> int:
    return int(nbdkit.THREAD_MODEL_SERIALIZE_ALL_REQUESTS)


def open(readonly: int) -> int:
    return _names.index(nbdkit.export_name())


def get_size(disk: int) -> int:
    return len(_disks[disk])


def can_multi_conn(disk: int) -> bool:
    return True


def can_fua(disk: int) -> int:
    return int(nbdkit.FUA_EMULATE)


def block_size(disk: int) -> tuple[int, int, int]:
    return (1, 4096, 32 << 20)


def _meet_fault(disk: int, what: str) -> None:
    """Fail the request if the faults file says so."""
    try:
        with open_file(_faults) as file:
            lines = [line.split() for line in file]
    except FileNotFoundError:
        return
    for name, kind, number in lines:
        if (name, kind) == (_names[disk], what):
            if what == "flush":
                os.write(_log, ENTRY.pack(time.monotonic_ns(), 0, 0, disk, LOST))
            nbdkit.set_error(int(number))
            raise OSError(int(number), f"{what} of {name} fails as told")


def pread(disk: int, buffer: bytearray, offset: int, flags: int) -> None:
    _meet_fault(disk, "read")
    buffer[:] = _disks[disk][offset : offset + len(buffer)]


def pwrite(disk: int, buffer: bytes, offset: int, flags: int) -> None:
    _meet_fault(disk, "write")
    os.writev(_log, (ENTRY.pack(time.monotonic_ns(), offset, len(buffer), disk, WRITE), buffer))
    _disks[disk][offset : offset + len(buffer)] = buffer


def flush(disk: int, flags: int) -> None:
    _meet_fault(disk, "flush")
    os.write(_log, ENTRY.pack(time.monotonic_ns(), 0, 0, disk, FLUSH))


def zero(disk: int, count: int, offset: int, flags: int) -> None:
    _meet_fault(disk, "write")
    os.write(_log, ENTRY.pack(time.monotonic_ns(), offset, count, disk, ZERO))
    _disks[disk][offset : offset + count] = bytes(count)


trim = zero
