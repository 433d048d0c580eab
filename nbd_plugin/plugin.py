"""The nbdkit plugin: callbacks only.

nbdkit -f -U SOCKET --pidfile PIDFILE python nbd_plugin/plugin.py config=SERVER.JSON [prepared=1]

A prepared server loads its program and then waits for a line at its standard
input: SERVER.JSON need not be there before.
Each callback hands over to the write path and turns whatever is raised into
an NBD error (`boundary`). With SERIALIZE_REQUESTS a connection's requests come
one at a time in one thread; connections run side by side.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

import nbdkit

from nbd_plugin.ending import Ending  # first: it blocks signals, in every thread that others start

# isort: split
from controller.errors import PairvolError, StorageError, UsageError
from controller.volume.requests import REQUEST_BYTES_MAX
from controller.volume.settings import ServerSettings, load
from controller.volume.write_path import WritePath
from nbd_plugin.boundary import refuse, speak_shortly
from nbd_plugin.control import Commands, ControlSocket
from nbd_plugin.exports import Exports, Session
from nbd_plugin.prepared import await_word
from nbd_plugin.rest import Rest
from nbd_plugin.threads import keep_state, release_state

API_VERSION = 2

_FUA = nbdkit.FLAG_FUA
_MAY_TRIM = nbdkit.FLAG_MAY_TRIM

_settings: ServerSettings
_write_path: WritePath
_exports: Exports
_control: ControlSocket | None = None
_ending: Ending | None = None
_rest: Rest | None = None
_config_path = ""
_prepared = False

speak_shortly()

# the life of the server


def thread_model() -> int:
    # PARALLEL gains nothing under the GIL, and nbdkit before 1.34 dies of a hang-up with requests in flight.
    return int(nbdkit.THREAD_MODEL_SERIALIZE_REQUESTS)


def config(key: str, value: str) -> None:
    global _config_path, _prepared
    if key == "config":
        _config_path = os.path.abspath(value)
    elif key == "prepared" and value == "1":
        _prepared = True
    else:
        _give_up(UsageError(f"wrong parameter {key}={value}", hint="Give config=PATH of server.json."))


def get_ready() -> None:
    global _settings, _write_path, _exports
    try:
        if _prepared:
            await_word()
        _settings = load(_config_path)
        _write_path = WritePath.open(_settings)
    except PairvolError as error:
        _give_up(error)
    except OSError as error:
        _give_up(StorageError(f"cannot start the volume server: {error}", hint="Look at that disk or file system."))
    _exports = Exports(_write_path.volumes.values())


def after_fork() -> None:
    global _control, _ending, _rest
    try:
        _control = ControlSocket(_settings.control, Commands(_write_path, _exports))
        _control.start()
    except PairvolError as error:
        _give_up(error)
    _ending = Ending(nbdkit.shutdown)
    _ending.start()
    _rest = Rest()
    _rest.start()


def cleanup() -> None:
    if _ending is not None:
        _ending.over()
    if _control is not None:
        _control.close()
    if _rest is not None:
        _rest.wait()
    try:
        _write_path.close()
    except PairvolError as error:
        _say(error)  # the journal keeps what could not be brought to the stores


def _give_up(error: PairvolError) -> None:
    """End before anything is served: one line and a hint, without nbdkit's traceback around it."""
    _say(error)
    os._exit(1)


def _say(error: PairvolError) -> None:
    sys.stderr.write(f"pairvol: {error.message}\n" + (f"HINT: {error.hint}\n" if error.hint else ""))
    sys.stderr.flush()


# exports and connections


def list_exports(readonly: bool, is_tls: bool) -> Iterable[str]:
    return _exports.names


def default_export(readonly: bool, is_tls: bool) -> str:
    return _exports.default


def open(readonly: bool) -> Session:
    try:
        session = _exports.open(nbdkit.export_name(), readonly)
        session.thread_token = keep_state()
        return session
    except BaseException as error:  # noqa: BLE001 - boundary
        refuse(error)


def close(session: Session) -> None:
    _exports.close(session)
    release_state(session.thread_token)


def get_size(session: Session) -> int:
    return session.volume.size_bytes


def block_size(session: Session) -> tuple[int, int, int]:
    return 512, 4096, REQUEST_BYTES_MAX


def can_write(session: Session) -> bool:
    return session.volume.writable and not session.readonly


def can_flush(session: Session) -> bool:
    return True


def can_trim(session: Session) -> bool:
    return True


def can_zero(session: Session) -> bool:
    return True


def can_extents(session: Session) -> bool:
    return True


def can_multi_conn(session: Session) -> bool:
    return True


def can_fua(session: Session) -> int:
    return int(nbdkit.FUA_NATIVE)


def can_cache(session: Session) -> int:
    return int(nbdkit.CACHE_NATIVE)


def is_rotational(session: Session) -> bool:
    return False


# requests


def pread(session: Session, buf: memoryview, offset: int, flags: int) -> None:
    session.reads += 1
    try:
        _write_path.read(session.volume, buf, offset)
    except BaseException as error:  # noqa: BLE001 - boundary
        refuse(error)


def pwrite(session: Session, buf: memoryview, offset: int, flags: int) -> None:
    session.writes += 1
    try:
        _write_path.write(session.volume, buf, offset, flags & _FUA != 0)
    except BaseException as error:  # noqa: BLE001 - boundary
        refuse(error)


def zero(session: Session, count: int, offset: int, flags: int) -> None:
    session.writes += 1
    try:
        _write_path.zero(session.volume, offset, count, flags & _MAY_TRIM != 0, flags & _FUA != 0)
    except BaseException as error:  # noqa: BLE001 - boundary
        refuse(error)


def trim(session: Session, count: int, offset: int, flags: int) -> None:
    session.writes += 1
    try:
        _write_path.trim(session.volume, offset, count, flags & _FUA != 0)
    except BaseException as error:  # noqa: BLE001 - boundary
        refuse(error)


def flush(session: Session, flags: int) -> None:
    session.flushes += 1
    try:
        _write_path.flush(session.volume)
    except BaseException as error:  # noqa: BLE001 - boundary
        refuse(error)


def cache(session: Session, count: int, offset: int, flags: int) -> None:
    try:
        _write_path.cache(session.volume, offset, count)
    except BaseException as error:  # noqa: BLE001 - boundary
        refuse(error)


def extents(session: Session, count: int, offset: int, flags: int) -> list[tuple[int, int, int]]:
    try:
        found = _write_path.extents(session.volume, offset, count)
    except BaseException as error:  # noqa: BLE001 - boundary
        refuse(error)
    hole = nbdkit.EXTENT_HOLE | nbdkit.EXTENT_ZERO
    return [(start, length, 0 if is_data else hole) for start, length, is_data in found]
