"""The control socket: the controller's commands to a running volume server.

One JSON object a line each way over a Unix stream socket. Owns the listener
and the table of commands; what a command does is the write path's business.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final

from controller.api.words import SuspendedCause
from controller.errors import ConflictError, PairvolError, UsageError
from controller.journal.markers import MarkerKind, pack_marker
from controller.journal.pointers import Position
from controller.volume.settings import parse_journal, parse_volumes
from controller.volume.write_path import WritePath
from nbd_plugin.exports import Exports

LINE_BYTES_MAX: Final = 1 << 20
CLIENTS_MAX: Final = 32

Answer = dict[str, Any]


class Commands:
    """What the controller may ask of a server."""

    def __init__(self, write_path: WritePath, exports: Exports) -> None:
        self._write_path = write_path
        self._exports = exports
        self._table: Final[dict[str, Callable[[dict[str, Any]], Answer]]] = {
            "status": self._status,
            "start": self._start,
            "stop": self._stop,
            "suspend": self._suspend,
            "resume": self._resume,
            "clear_epoch": self._clear_epoch,
            "flush": lambda _: {"durable": asdict(self._write_path.flush_all())},
            "checkpoint": lambda _: {"checkpoint": asdict(self._write_path.checkpoint())},
            "writable": self._writable,
            "marker": self._marker,
            "run": self._run,
            "move_journal": self._move_journal,
            "grow": self._grow,
            "join": self._join,
            "leave": self._leave,
        }

    def answer(self, line: bytes) -> Answer:
        """Carry out one command; errors become an answer, whatever they are."""
        try:
            request = _parse(line)
            act = self._table.get(str(request.get("command")))
            if act is None:
                raise UsageError(
                    f"unknown command {request.get('command')!r}", hint=f"There is: {', '.join(self._table)}."
                )
            return {"ok": True, **act(request)}
        except PairvolError as error:
            return {"ok": False, "error": type(error).__name__, "message": error.message, "hint": error.hint}
        except Exception as error:  # noqa: BLE001 - the boundary: the listener must outlive any command
            return {"ok": False, "error": "StorageError", "message": f"command failed: {error!r}", "hint": ""}

    def _status(self, _: dict[str, Any]) -> Answer:
        return {"pid": os.getpid(), **self._write_path.status(), **self._exports.status()}

    def _start(self, request: dict[str, Any]) -> Answer:
        position = self._write_path.start(parse_journal(request.get("journal")))
        return {"appended": asdict(position)}

    def _stop(self, _: dict[str, Any]) -> Answer:
        self._write_path.stop()
        return {}

    def _suspend(self, request: dict[str, Any]) -> Answer:
        try:
            cause = SuspendedCause(request.get("cause", SuspendedCause.OPERATOR))
        except ValueError as error:
            raise UsageError(str(error)) from error
        self._write_path.suspend(cause)
        return {}

    def _resume(self, request: dict[str, Any]) -> Answer:
        position = self._write_path.resume(parse_journal(request.get("journal")))
        return {"appended": asdict(position)}

    def _clear_epoch(self, request: dict[str, Any]) -> Answer:
        self._write_path.clear_epoch(str(request.get("epoch")))
        return {}

    def _marker(self, request: dict[str, Any]) -> Answer:
        name, kind = request.get("marker"), request.get("kind", MarkerKind.NAMED)
        if not isinstance(name, str) or not name or kind not in (MarkerKind.NAMED, MarkerKind.COPIED):
            raise UsageError("marker needs a name, and a kind that can be ordered")
        return {"position": asdict(self._write_path.mark(pack_marker(kind, name=name)))}

    def _run(self, request: dict[str, Any]) -> Answer:
        from controller.inband.orders import parse_run  # few servers are ever asked: the rest start sooner

        return {"run": self._write_path.order_run(parse_run(request.get("run"))).model_dump(mode="json")}

    def _move_journal(self, request: dict[str, Any]) -> Answer:
        """Go on with the journal volume at `laid_out`, which has everything up to `carried`."""
        try:
            carried = Position(**request["carried"])
            laid_out = str(request["laid_out"])
        except (KeyError, TypeError) as error:
            raise UsageError(f"move_journal needs laid_out and carried: {error}") from error
        tail = self._write_path.move_journal(parse_journal(request.get("journal")), laid_out, carried)
        return {"appended": asdict(tail)}

    def _grow(self, request: dict[str, Any]) -> Answer:
        name, size_bytes = request.get("volume"), request.get("size_bytes")
        if not isinstance(name, str) or not isinstance(size_bytes, int):
            raise UsageError("grow needs a volume name and its bytes")
        self._write_path.grow(name, size_bytes)
        return {}

    def _join(self, request: dict[str, Any]) -> Answer:
        """Serve more volumes of the group."""
        self._exports.add(self._write_path.join(parse_volumes(request.get("volumes"))))
        return {}

    def _leave(self, request: dict[str, Any]) -> Answer:
        """Serve some volumes of the group no more; the newest journal that may speak of them."""
        names = request.get("volumes")
        if not isinstance(names, list):
            raise UsageError("leave needs the names of volumes")
        self._exports.remove(names)
        try:
            return {"position": asdict(self._write_path.leave(names))}
        except BaseException:
            self._exports.add(volume for volume in self._write_path.volumes.values() if volume.name in names)
            raise

    def _writable(self, request: dict[str, Any]) -> Answer:
        name, writable = request.get("volume"), request.get("writable")
        if not isinstance(name, str) or not isinstance(writable, bool):
            raise UsageError("writable needs a volume name and true or false")
        self._write_path.set_writable(name, writable)
        return {}


def _parse(line: bytes) -> dict[str, Any]:
    try:
        request = json.loads(line)
    except ValueError as error:
        raise UsageError(f"a command is not JSON: {error}") from error
    if not isinstance(request, dict):
        raise UsageError("a command is not a JSON object")
    return request


class ControlSocket:
    """Listens at a path, each client in a thread of its own: a status must not wait for a stop."""

    def __init__(self, path: str, commands: Commands) -> None:
        self._path = path
        self._commands = commands
        self._places = threading.BoundedSemaphore(CLIENTS_MAX)
        self._listener = self._bind(path)
        self._thread = threading.Thread(target=self._accept, name="control", daemon=True)

    @staticmethod
    def _bind(path: str) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        unseen = f"{path}~"
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(unseen)
            listener.bind(unseen)
            os.chmod(unseen, 0o600)
            listener.listen(CLIENTS_MAX)
            # Who sees it can connect. One that is there is a dead server's: the volumes are this process's alone.
            os.rename(unseen, path)
        except OSError as error:
            listener.close()
            raise ConflictError(f"cannot listen at {path}: {error.strerror}", path=path) from error
        return listener

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stop listening and remove the socket; a command under way is finished."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        if self._thread.is_alive():
            self._thread.join()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._places.acquire(blocking=False):
                threading.Thread(target=self._serve, args=(client,), name="control-client", daemon=True).start()
            else:
                client.close()

    def _serve(self, client: socket.socket) -> None:
        try:
            with client, client.makefile("rwb") as stream:
                while line := stream.readline(LINE_BYTES_MAX):
                    stream.write(json.dumps(self._commands.answer(line)).encode() + b"\n")
                    stream.flush()
        except OSError:
            pass  # the client went away; its command was carried out all the same
        finally:
            self._places.release()
