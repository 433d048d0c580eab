"""The data link: NBD reads from the other site that never wait for ever.

Owns the connection; knows nothing of journals. libnbd and nbdkit have no
timeout of their own, so every command is started asynchronously and polled
under a deadline (in_flight.py); only the look-up of a name waits inside
libnbd, and is waited for in bounded time. A link that moved no byte for
`deadline_seconds` is dead, however healthy TCP believes it to be.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import nbd

from controller.copy.in_flight import SLICE_SECONDS, Deadline, Range, finish, pieces_of, read_pieces
from controller.copy.reads import Reads
from controller.copy.relayed import Relayed
from controller.copy.ways import Way
from controller.errors import IntegrityError, PeerError, UsageError
from controller.in_time import in_time, is_numeric
from controller.tls import Certificates, End

CONNECT_SHARE: Final = 4.0  # of silence that connecting may take in all: it is a handful of round trips
STATUS_BYTES_MAX: Final = 1 << 30

# What GnuTLS says while connecting, and what it means: nbdkit hangs up without a word on a certificate that it refuses.
REFUSALS: Final = {
    "certificate verification": "its certificate is refused: of another authority, expired, or not for that host",
    "gnutls_record": "it refuses our certificate: of another authority, expired or revoked",
}


@dataclass(frozen=True, slots=True)
class Extent:
    """A part of an export; `zero` means that it reads as zeros and need not be read."""

    offset: int
    length: int
    zero: bool


class DataLink:
    """One export of the other site, for one thread at a time.

    Connects at first use. After any error the connection is thrown away, with
    whatever was in flight, and PeerError (a retry can help) is raised; the next
    use connects again. `stop` ends a wait early. `connections` counts
    connections made, so that an owner knows when to check again who answers.
    `way`: says for each connection whether it is compressed.
    """

    def __init__(
        self,
        uri: str,
        *,
        deadline_seconds: float = 3.0,
        stop: threading.Event | None = None,
        allocation: bool = False,
        certificates: Certificates | None = None,
        way: Way | None = None,
    ) -> None:
        """With certificates: TLS with both ends authenticated, or nothing."""
        self.uri = uri
        self._certificates = certificates
        self.deadline_seconds = deadline_seconds
        self.connections = 0
        self._stop = stop or threading.Event()
        self._allocation = allocation
        self.way = way
        self._relayed: Relayed | None = None  # what carries the present connection, when it is compressed
        self._handle: Any = None
        self._reads: Reads

    @property
    def connected(self) -> bool:
        """Whether the next use will find a connection (it may be dead without anyone knowing)."""
        return self._handle is not None

    @property
    def compressed(self) -> bool:
        """Whether there is a connection, and it is compressed."""
        return self._relayed is not None

    @property
    def _may_compress(self) -> bool:
        """A relay speaks no TLS, and a site that has certificates speaks nothing else."""
        return self.way is not None and self.way.compressed and self._certificates is None

    def reconsider(self) -> None:
        """Drop a connection that is not compressed, and could be by now; only between two uses that belong together."""
        if self.way is None or self._handle is None or self._relayed is not None or self._certificates is not None:
            return
        if self._may_compress:
            self.close()
        else:
            self.way.probe(self.deadline_seconds)

    @property
    def size_bytes(self) -> int:
        """Length of the export; connects when there is no connection."""
        handle = self._connected()
        try:
            return int(handle.get_size())
        except nbd.Error as error:
            raise self._broken(error) from error

    @property
    def can_flush(self) -> bool:
        """Whether the export takes a flush at all."""
        return bool(self._connected().can_flush())

    def read_ranges(self, ranges: Iterable[Range]) -> None:
        """Read (offset, length, view of that length) each; the views are filled when this returns.

        After an error their content is undefined. Nothing writes into a view
        once this has returned or raised.
        """
        pieces = deque(pieces_of(ranges))
        if pieces:
            total = sum(len(view) for _, view in pieces)
            handle = self._connected()
            budget = self._deadline(self.deadline_seconds, total)
            try:
                read_pieces(handle, self._reads, pieces, budget)
            except (nbd.Error, OSError) as error:
                raise self._broken(error) from error
            if self.way is not None:
                self.way.moved(self._relayed, total)

    def flush(self, deadline_seconds: float = 10.0) -> None:
        """Make durable, at the other site, everything that this connection could have read."""
        handle = self._connected()
        if not handle.can_flush():
            raise IntegrityError(
                f"{self.uri} takes no flush: what is read from it may not be durable there",
                hint="Serve the volume with a server that supports flush.",
                uri=self.uri,
            )
        try:
            finish(handle, handle.aio_flush(), self._deadline(deadline_seconds))
        except (nbd.Error, OSError) as error:
            raise self._broken(error) from error

    def extents(self, offset: int, count: int) -> list[Extent]:
        """What of a range reads as zeros (block status), covering a prefix of it at least one byte long.

        A server without block status says that all is data.
        """
        count = min(count, STATUS_BYTES_MAX)
        handle = self._connected()
        found: list[Extent] = []

        def status(context: str, start: int, entries: list[int], error: Any) -> int:
            if context == nbd.CONTEXT_BASE_ALLOCATION:
                found.extend(_clip(start, entries, offset + count))
            return 0

        try:
            if not handle.can_meta_context(nbd.CONTEXT_BASE_ALLOCATION):
                return [Extent(offset, count, False)]
            budget = self._deadline(self.deadline_seconds)
            finish(handle, handle.aio_block_status(count, offset, status), budget)
        except (nbd.Error, OSError) as error:
            raise self._broken(error) from error
        return found or [Extent(offset, count, False)]

    def close(self) -> None:
        """Throw the connection away; nothing in flight touches a view afterwards."""
        handle, self._handle = self._handle, None
        if handle is not None:
            # The binding closes when the last reference goes, and the traceback of an error may hold one for long.
            handle.__del__()
            del handle._o
            self._reads.forget()
        self._relayed = None

    def _deadline(self, seconds: float, total_bytes: int = 0, whole_share: float = 1.0) -> Deadline:
        relayed = self._relayed
        moved = (lambda: relayed.moved_bytes) if relayed is not None else None
        return Deadline(seconds, total_bytes, self._stop, whole_share, moved)

    def _connected(self) -> Any:
        if self._handle is None:
            self._handle = handle = nbd.NBD()
            self._reads = Reads(handle)
            handle.set_pread_initialize(False)  # a pass over the map less; after an error the views are undefined
            if self._allocation:
                handle.add_meta_context(nbd.CONTEXT_BASE_ALLOCATION)
            try:
                self._secure(handle)
                if self._may_compress and self.way is not None:
                    self._relayed = self.way.begin(self.uri, self.deadline_seconds)
                    handle.set_export_name(unquote(urlsplit(self.uri).path.removeprefix("/")))
                    handle.aio_connect_socket(self._relayed.take())
                else:
                    self._call(handle)
                budget = self._deadline(self.deadline_seconds, 0, CONNECT_SHARE)
                while not handle.aio_is_ready():
                    if handle.aio_is_dead() or handle.aio_is_closed():
                        raise TimeoutError("the server closed the connection")
                    budget.poll(handle)
            except (nbd.Error, OSError) as error:
                raise self._broken(error, connecting=True) from error
            self.connections += 1
        return self._handle

    def _call(self, handle: Any) -> None:
        """Begin to connect. A name is looked up on the way, by libnbd and without a deadline of its own."""
        if is_numeric(urlsplit(self.uri).hostname or "127.0.0.1"):
            handle.aio_connect_uri(self.uri)
            return
        try:
            in_time(partial(handle.aio_connect_uri, self.uri), self.deadline_seconds, self._stop)
        except TimeoutError:
            self._handle = None  # it is the look-up's until that ends, and goes with it: to close it would wait
            raise

    def _secure(self, handle: Any) -> None:
        secured = self.uri.startswith("nbds")
        if self._certificates is None:
            if secured:
                raise ConnectionRefusedError("the other site asks for certificates, and this one's controller has none")
            handle.set_uri_allow_tls(nbd.TLS_DISABLE)
            return
        if not secured:
            raise ConnectionRefusedError("the other site's controller offers no TLS, and this one insists on it")
        try:
            self._certificates.check_files(End.CLIENT)
        except UsageError as error:  # mended by hand and tried again by itself, like what the other site refuses
            raise ConnectionRefusedError(error.message) from error
        handle.set_tls(nbd.TLS_REQUIRE)
        handle.set_uri_allow_tls(nbd.TLS_REQUIRE)
        handle.set_tls_certificates(str(self._certificates.directory))
        handle.set_tls_verify_peer(True)

    def _broken(self, error: Any, *, connecting: bool = False) -> PeerError:
        relayed = self._relayed
        self.close()
        if self.way is not None and not self._stop.is_set():
            if relayed is not None:
                relayed.wait(SLICE_SECONDS)
            self.way.broke(relayed)
        words = error.string if isinstance(error, nbd.Error) else error.strerror or str(error)
        if relayed is not None and relayed.failure is not None:
            words = relayed.failure
        words = words.partition(": ")[2] if words.startswith("nbd_") else words
        if connecting and self._certificates is not None:
            words = next((said for part, said in REFUSALS.items() if part in words), words)
        return PeerError(
            f"data link {self.uri}: {words.lower()}",
            hint="It is tried again by itself; look at the other site and the network between if it stays down.",
            uri=self.uri,
        )


LinkMaker = Callable[..., DataLink]  # a DataLink's own parameters


def _clip(start: int, entries: list[int], end: int) -> Iterator[Extent]:
    """Pairs of (length, flags) as extents; a server may answer beyond what was asked."""
    for length, flags in zip(entries[::2], entries[1::2], strict=True):
        if start < end and length:
            yield Extent(start, min(length, end - start), bool(flags & nbd.STATE_ZERO))
        start += length
