"""One connection to a primary's relay, with an end that libnbd takes for the server's socket.

Owns the thread between the two: it makes the connection, greets the relay and
unpacks what comes. The owner of the other end keeps the deadlines; closing it
ends the thread. Memory is bounded whatever the relay sends (controller/relay/WIRE.md).
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final

from controller.errors import IntegrityError, PeerError
from controller.relay.frames import GREETING, Answer, Plain, Target, Unpacking, greeted, greeting
from controller.relay.pump import Flow, pump

_REFUSALS: Final = {
    Answer.BUSY: "it has too many connections",
    Answer.NO_TARGET: "it was told no such server",
}


class Relayed:
    """`socket` is libnbd's; whoever takes it closes it. `counted` is told bytes for NBD and bytes on the wire."""

    def __init__(
        self, address: tuple[str, int], target: Target, seconds: float, counted: Callable[[int, int], None]
    ) -> None:
        self.socket, self._inner = socket.socketpair()
        self.failure: str | None = None  # why the relay cannot be used
        self.proved = False  # something was read through it, or the straight way would not do better
        self.moved_bytes = 0  # on the wire, either way: what a deadline asks
        self._address = address
        self._target = target
        self._seconds = seconds
        self._counted = counted
        self._thread = threading.Thread(target=self._run, name="relayed", daemon=True)
        self._thread.start()

    def take(self) -> int:
        """The descriptor, which is the caller's from now on."""
        return self.socket.detach()

    def wait(self, seconds: float) -> None:
        """Until the thread has noticed that the other end is closed, and said what there is to say."""
        self._thread.join(seconds)

    def _run(self) -> None:
        with self._inner:
            try:
                with _greeted(self._address, self._target, self._seconds) as relay:
                    self.moved_bytes += GREETING.size
                    self._inner.setblocking(False)
                    relay.setblocking(False)
                    up = Flow(self._inner, relay, Plain(), self._sent)
                    pump(up, Flow(relay, self._inner, Unpacking(), self._received))
            except (IntegrityError, PeerError) as error:
                self.failure = error.message
            except _ServerDownError:
                self.proved = True
            except OSError:
                pass  # the owner has closed its end, or sees that this one is

    def _sent(self, read: int, written: int) -> None:
        self.moved_bytes += written

    def _received(self, read: int, written: int) -> None:
        self.moved_bytes += read
        self._counted(written, read)


class _ServerDownError(Exception):
    """The relay is there, and what it stands before is not."""


def refusal(address: tuple[str, int], seconds: float) -> str | None:
    """Why a relay cannot be used now; None: it can."""
    try:
        _greeted(address, Target.JOURNAL, seconds).close()
    except (IntegrityError, PeerError) as error:
        return error.message
    except _ServerDownError:
        pass
    return None


def _greeted(address: tuple[str, int], target: Target, seconds: float) -> socket.socket:
    """A connection through which a server can be spoken to."""
    words = f"the relay at {address[0]}:{address[1]}"
    try:
        relay = socket.create_connection(address, seconds)
        with ExitStack() as undo:
            undo.callback(relay.close)
            relay.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            relay.sendall(greeting(target))
            answer = greeted(_exactly(relay, GREETING.size, words))
            if answer in _REFUSALS:
                raise PeerError(f"{words}: {_REFUSALS[Answer(answer)]}")
            if answer != Answer.GO_ON:
                raise _ServerDownError
            undo.pop_all()
    except OSError as error:
        raise PeerError(f"{words}: {(error.strerror or str(error)).lower()}") from error
    return relay


def _exactly(relay: socket.socket, count: int, words: str) -> bytes:
    data = b""
    while len(data) < count:
        piece = relay.recv(count - len(data))
        if not piece:
            raise PeerError(f"{words} closed the connection")
        data += piece
    return data
