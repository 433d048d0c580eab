"""Both clients end in bounded time and memory, whatever the other end does and wherever its name is looked up."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from controller import in_time
from controller.api.client import ControllerClient
from controller.api.models import SiteInfo
from controller.errors import PeerError
from controller.exchange import whole_seconds
from hostagent.transport import Channel, unanswered
from tests.support.dripping import PARTS, dripping

SECONDS = 0.1
GRACE_SECONDS = 1.0  # of a machine that is busy


def by_channel(address: str) -> None:
    with Channel(address, "the host agent of osaka") as channel:
        channel.call(SiteInfo, "GET", "/agent", seconds=SECONDS)


def by_relay(address: str) -> None:
    with Channel(address, "the host agent of osaka") as channel:
        channel.relay("POST", "/v1/pairs", "", b"{}", "pairvol-relayed", SECONDS)


def by_controller_client(address: str) -> None:
    with ControllerClient(address, seconds=SECONDS) as client:
        client.site()


CLIENTS = [by_channel, by_relay, by_controller_client]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("call", CLIENTS)
def test_an_answer_that_comes_in_drips_ends_wherever_it_drips(call: Callable[[str], None], part: str) -> None:
    with dripping(part) as port:
        began = time.monotonic()
        with pytest.raises(PeerError) as caught:
            call(f"127.0.0.1:{port}")
        assert time.monotonic() - began < whole_seconds(SECONDS) + GRACE_SECONDS
    assert unanswered(caught.value)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("call", CLIENTS)
def test_an_answer_without_end_is_not_taken_into_memory(
    call: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controller.exchange.ANSWER_BYTES_MAX", 3)
    with dripping("body") as port, pytest.raises(PeerError, match="longer than 3 bytes"):
        call(f"127.0.0.1:{port}")


@pytest.fixture
def silent_names(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nobody answers who a name is."""
    answered = threading.Event()

    def never(*_: object, **__: object) -> list[object]:
        answered.wait()
        raise socket.gaierror("never")

    monkeypatch.setattr("socket.getaddrinfo", never)
    yield
    answered.set()


@pytest.mark.timeout(20)
@pytest.mark.parametrize("call", CLIENTS)
def test_a_name_that_nobody_answers_for_is_waited_for_as_long_as_a_connection(
    call: Callable[[str], None], silent_names: None
) -> None:
    began = time.monotonic()
    with pytest.raises(PeerError):
        call("localhost:9")
    assert time.monotonic() - began < SECONDS + GRACE_SECONDS


def test_a_name_is_tried_at_each_of_its_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = socket.getaddrinfo

    def two(host: str, port: int, *rest: int, **more: int) -> list[object]:
        hosts = ("127.0.0.9", "127.0.0.1") if host == "localhost" else (host,)
        return [place for each in hosts for place in kept(each, port, *rest, **more)]

    with dripping("body") as port:
        monkeypatch.setattr("socket.getaddrinfo", two)
        monkeypatch.setattr("controller.exchange.ANSWER_BYTES_MAX", 0)
        with pytest.raises(PeerError, match="longer than 0 bytes"):
            by_controller_client(f"localhost:{port}")


@pytest.fixture
def stuck() -> Iterator[Callable[[], None]]:
    """A call that returns when the test is over."""
    over = threading.Event()

    def hang() -> None:
        over.wait()

    yield hang
    over.set()


def test_a_call_gives_back_what_it_comes_to() -> None:
    assert in_time.in_time(lambda: 7, 5) == 7
    with pytest.raises(ZeroDivisionError):
        in_time.in_time(lambda: 1 // 0, 5)


def test_a_call_that_hangs_is_left_alone_and_so_many_of_them_only(
    stuck: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_time, "_places", threading.BoundedSemaphore(2))
    with pytest.raises(TimeoutError, match=r"no answer for 0\.01 s"):
        in_time.in_time(stuck, 0.01)
    stop = threading.Event()
    stop.set()
    with pytest.raises(TimeoutError, match="stopped"):
        in_time.in_time(stuck, 60, stop)
    with pytest.raises(TimeoutError, match="calls before it have no answer"):
        in_time.in_time(lambda: 7, 60)
