"""A TCP link between two sites that can be slowed, cut, stalled, corrupted and healed.

One thread for each direction of each connection; made for a few connections
on loopback. The proxy knows nothing of what it carries.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from dataclasses import dataclass
from types import TracebackType

CHUNK_BYTES = 256 * 1024


@dataclass
class Faults:
    """What is wrong with the link now. Byte counts are of the answers (target to client), over all connections."""

    latency_seconds: float = 0.0
    cut: bool = False  # connections broken, new ones refused
    stalled: bool = False  # half-open: connections stay, nothing moves
    cut_after_bytes: int | None = None
    corrupt_at_byte: int | None = None  # one bit flips there, once


class Proxy:
    """Listens on `listen` and forwards to `target`; both are (address, port)."""

    def __init__(self, target: tuple[str, int], listen: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        self.target = target
        self.faults = Faults()
        self.connections_seen = 0
        self.answered_bytes = 0
        self.corrupted = 0
        self._changed = threading.Condition()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._half: set[tuple[socket.socket, socket.socket]] = set()
        self._closing = False
        self._listener = socket.create_server(listen, backlog=64)
        self.address: tuple[str, int] = self._listener.getsockname()[:2]
        self._acceptor = threading.Thread(target=self._accept, name=f"proxy {self.address[1]}", daemon=True)
        self._acceptor.start()

    # -- faults ---------------------------------------------------------------

    def set(self, faults: Faults) -> None:
        """Put these faults in place; byte counts start at zero now."""
        with self._changed:
            self.faults = faults
            self.answered_bytes = 0
            self._changed.notify_all()
        if faults.cut:
            self._break_all()

    def cut(self) -> None:
        self.set(Faults(cut=True))

    def stall(self) -> None:
        self.set(Faults(stalled=True))

    def heal(self) -> None:
        """Everything passes again. Connections that were stalled go on as they are."""
        self.set(Faults())

    # -- machinery ------------------------------------------------------------

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections_seen += 1
            if self.faults.cut or self._closing:
                _reset(client)
                continue
            try:
                server = socket.create_connection(self.target, timeout=5)
            except OSError:
                _reset(client)
                continue
            server.settimeout(None)
            pair = (client, server)
            with self._changed:
                self._pairs.add(pair)
            for source, sink, answers in ((client, server, False), (server, client, True)):
                sink.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._pump, args=(pair, source, sink, answers), daemon=True).start()

    def _pump(
        self, pair: tuple[socket.socket, socket.socket], source: socket.socket, sink: socket.socket, answers: bool
    ) -> None:
        try:
            while chunk := source.recv(CHUNK_BYTES):
                data = self._pass(chunk, answers)
                if data:
                    sink.sendall(data)
                if len(data) < len(chunk):
                    break
            else:
                if self._half_closed(pair, sink):
                    return
        except OSError:
            pass
        self._break(pair)

    def _half_closed(self, pair: tuple[socket.socket, socket.socket], sink: socket.socket) -> bool:
        """Pass one end's FIN on; True while the other direction is still open."""
        with self._changed:
            first = pair not in self._half
            self._half.add(pair)
        if first:
            sink.shutdown(socket.SHUT_WR)
        return first

    def _pass(self, chunk: bytes, answers: bool) -> bytes:
        """What of `chunk` goes on, after waiting as the faults say; shorter than `chunk` breaks the connection."""
        with self._changed:
            self._changed.wait_for(lambda: not self.faults.stalled or self.faults.cut or self._closing)
            faults = self.faults
            start = self.answered_bytes
            if answers:
                self.answered_bytes += len(chunk)
        if faults.latency_seconds:
            time.sleep(faults.latency_seconds)
        if faults.cut or self._closing:
            return b""
        if not answers:
            return chunk
        if faults.corrupt_at_byte is not None and start <= faults.corrupt_at_byte < start + len(chunk):
            spoiled = bytearray(chunk)
            spoiled[faults.corrupt_at_byte - start] ^= 0x10
            self.corrupted += 1
            chunk = bytes(spoiled)
        if faults.cut_after_bytes is not None and start + len(chunk) > faults.cut_after_bytes:
            self.faults = Faults(cut=True)
            return chunk[: max(0, faults.cut_after_bytes - start)]
        return chunk

    def _break(self, pair: tuple[socket.socket, socket.socket]) -> None:
        with self._changed:
            self._pairs.discard(pair)
            self._half.discard(pair)
        for end in pair:
            _reset(end)

    def _break_all(self) -> None:
        with self._changed:
            pairs = list(self._pairs)
        for pair in pairs:
            self._break(pair)

    def close(self) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join(5)
        self._break_all()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _reset(end: socket.socket) -> None:
    """Close with RST, and wake a thread that waits in recv."""
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
