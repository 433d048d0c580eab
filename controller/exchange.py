"""One HTTP request and its answer, in bounded time and memory: what both clients of the project speak by.

httpx bounds each wait for the other end, so a peer that sends a byte now and
then is waited for without end. Here the whole exchange has an end as well,
from the look-up of the name to the last byte of the answer: every wait is cut
to what is left until then. Must not know any endpoint, nor what an error
answer means.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

import httpcore
import httpx

from controller.in_time import addresses_of

CONNECT_SECONDS: Final = 2.0
DRIP_SHARE: Final = 3.0  # of its deadline that an answer may take beyond it, when it comes in drips
DRIP_SECONDS_MAX: Final = 30.0
ANSWER_BYTES_MAX: Final = 64 << 20
SEND_BYTES: Final = 16 << 10

_exchange: Final = threading.local()  # `end` of the one that this thread is in, of the monotonic clock


def whole_seconds(seconds: float) -> float:
    """How long a whole exchange may take when each wait for the other end may take so long."""
    return seconds + min(DRIP_SHARE * seconds, DRIP_SECONDS_MAX)


def exchange(
    client: httpx.Client,
    method: str,
    path: str,
    *,
    seconds: float,
    content: str | bytes | None = None,
    headers: Mapping[str, str] | None = None,
    params: Any = None,
) -> httpx.Response:
    """The answer with all of its content, whatever its status; httpx.TransportError when there is none in time.

    `seconds` bounds each wait for the other end, `whole_seconds` of it
    everything. `client` must have a `transport` of this module.
    """
    timeout = httpx.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS))
    asked = {"accept-encoding": "identity", **(headers or {})}  # a packed answer would be longer than it looks
    _exchange.end = time.monotonic() + whole_seconds(seconds)
    try:
        with client.stream(method, path, content=content, headers=asked, params=params, timeout=timeout) as answer:
            return _taken(answer)
    finally:
        _exchange.end = None


def transport(verify: ssl.SSLContext | bool, path: str | None = None, limits: httpx.Limits | None = None) -> Transport:
    """What a client of `exchange` is made with: to a Unix socket at `path`, or where its URL says."""
    return Transport(verify=verify, uds=path, limits=limits or httpx.Limits())


class Transport(httpx.HTTPTransport):
    """httpx's own over connections that know the end of the exchange they are used in."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._pool._network_backend = _Network()


def _taken(answer: httpx.Response) -> httpx.Response:
    received = bytearray()
    for piece in answer.iter_raw():
        received += piece
        if len(received) > ANSWER_BYTES_MAX:
            raise httpx.ReadError(f"the answer is longer than {ANSWER_BYTES_MAX} bytes", request=answer.request)
    kind = {"content-type": answer.headers["content-type"]} if "content-type" in answer.headers else None
    return httpx.Response(answer.status_code, headers=kind, content=bytes(received), request=answer.request)


def _left(timeout: float | None, late: type[Exception]) -> float:
    """How long to wait at most; `late` when the exchange is over."""
    end = getattr(_exchange, "end", None)
    left = float("inf") if end is None else end - time.monotonic()
    if left <= 0:
        raise late("the answer comes in drips")
    return min(left, CONNECT_SECONDS if timeout is None else timeout)


class _Stream(httpcore.NetworkStream):
    """A connection; each wait ends with the exchange."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), SEND_BYTES):
            self._stream.write(buffer[start : start + SEND_BYTES], _left(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = _left(timeout, httpcore.ConnectTimeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _Network(httpcore.NetworkBackend):
    """Connects within one deadline for the look-up of the name and all of its addresses."""

    def __init__(self) -> None:
        self._kept = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        end = time.monotonic() + _left(timeout, httpcore.ConnectTimeout)
        try:
            addresses = addresses_of(host, port, end - time.monotonic())
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(f"the name {host} was not found in time") from error
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        failure: Exception = httpcore.ConnectError(f"the name {host} has no address")
        for number, address in enumerate(addresses):
            share = max(0.0, end - time.monotonic()) / (len(addresses) - number)  # one that is silent leaves time
            try:
                return _Stream(self._kept.connect_tcp(address, port, share, local_address, socket_options))
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.NetworkStream:
        left = _left(timeout, httpcore.ConnectTimeout)
        return _Stream(self._kept.connect_unix_socket(path, left, socket_options))
