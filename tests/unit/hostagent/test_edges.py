"""Small parts at the agent's edges: addresses, answers, the kernel's nbd, the host's links."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from controller.api.models import SiteInfo
from controller.errors import ConflictError, IntegrityError, PairvolError, PeerError, UsageError
from hostagent.api.host import HostLink
from hostagent.attach.methods import export_of, kernel_command
from hostagent.attach.record import METHOD_KERNEL, Record
from hostagent.client import ADDRESS_VARIABLE, DEFAULT_ADDRESS, resolve_address
from hostagent.monitor import changes, read_links
from hostagent.transport import Channel, unanswered


def test_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ADDRESS_VARIABLE, raising=False)
    assert resolve_address() == DEFAULT_ADDRESS
    monkeypatch.setenv(ADDRESS_VARIABLE, "127.0.0.1:9")
    assert resolve_address() == "http://127.0.0.1:9"
    assert resolve_address("/run/a.sock") == "unix:/run/a.sock"
    assert resolve_address("unix:/run/a.sock") == "unix:/run/a.sock"
    with pytest.raises(UsageError):
        Channel("nowhere", "nobody")


ANSWERS = {
    "/v1/problem": (409, b'{"error":"ConflictError","message":"busy","hint":"Wait.","facts":{"group":"db"}}'),
    "/v1/peer": (502, b'{"error":"PeerError","message":"the controller is silent","hint":"","facts":{}}'),
    "/v1/text": (500, b"oops"),
    "/v1/strange": (200, b'{"size": 1}'),
    "/v1/new": (418, b'{"error":"NewError","message":"from the future","hint":"","facts":{}}'),
}


PAUSE = threading.Event()


class Scripted(http.server.BaseHTTPRequestHandler):
    """Answers what ANSWERS says for a path."""

    def do_GET(self) -> None:
        if self.path == "/v1/drips":
            self._drip()
            return
        status, body = ANSWERS[self.path]
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _drip(self) -> None:
        """A byte now and then, never silent for as long as a deadline, and never done."""
        self.send_response(200)
        self.send_header("content-length", "1000000")
        self.end_headers()
        with suppress(OSError):  # the other end gave up
            while True:
                self.wfile.write(b" ")
                self.wfile.flush()
                PAUSE.wait(0.02)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture(scope="module")
def channel() -> Iterator[Channel]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Scripted) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with Channel(f"127.0.0.1:{server.server_port}", "the host agent of osaka") as made:
            yield made
        server.shutdown()
        thread.join()


def test_a_problem_is_the_error_that_the_other_end_meant(channel: Channel) -> None:
    with pytest.raises(ConflictError) as caught:
        channel.call(SiteInfo, "GET", "/problem")
    assert (caught.value.message, caught.value.hint, caught.value.facts) == ("busy", "Wait.", {"group": "db"})
    with pytest.raises(PairvolError, match="from the future"):
        channel.call(SiteInfo, "GET", "/new")
    with pytest.raises(PeerError, match="status 500 and no problem document"):
        channel.call(SiteInfo, "GET", "/text")
    with pytest.raises(IntegrityError, match="cannot be read"):
        channel.call(SiteInfo, "GET", "/strange")


def test_silence_is_told_from_an_answer_about_silence(channel: Channel) -> None:
    with pytest.raises(PeerError) as answered:
        channel.call(SiteInfo, "GET", "/peer")
    assert not unanswered(answered.value)
    with Channel("127.0.0.1:1", "the host agent of osaka") as dead, pytest.raises(PeerError) as silent:
        dead.call(SiteInfo, "GET", "/peer")
    assert unanswered(silent.value)
    assert silent.value.message.startswith("the host agent of osaka at 127.0.0.1:1 is unreachable")


def test_kernel_nbd_gets_export_and_socket() -> None:
    uri = "nbd+unix:///a%20b?socket=/run/pairvol/v-a.sock"
    assert export_of(uri) == ("a b", "/run/pairvol/v-a.sock")
    record = Record(volume="a", uri=uri, method=METHOD_KERNEL, readonly=True, device="/dev/nbd3")
    assert kernel_command(record) == [
        *("nbd-client", "-unix", "/run/pairvol/v-a.sock", "/dev/nbd3", "-name", "a b"),
        *("-persist", "-timeout", "60", "-readonly"),
    ]
    with pytest.raises(UsageError):
        export_of("nbd://127.0.0.1:1/a")


def test_links_are_read_without_rights_and_loopback_is_up() -> None:
    assert {link.name: link.up for link in read_links()}.get("lo") is True


def test_changes_of_links_are_told() -> None:
    def link(name: str, up: bool, *addresses: str) -> HostLink:
        return HostLink(name=name, up=up, addresses=list(addresses))

    before = {"a": link("a", True, "10.0.0.1/24"), "b": link("b", True)}
    after = {"a": link("a", False, "10.0.0.2/24"), "c": link("c", True)}
    assert changes(before, after) == [
        ("a", "network link a went down", "warning"),
        ("a", "network link a lost 10.0.0.1/24", "warning"),
        ("a", "network link a has 10.0.0.2/24", "info"),
        ("b", "network link b is gone", "warning"),
        ("c", "network link c is new", "info"),
    ]
    assert changes(before, before) == []


def test_an_answer_that_comes_in_drips_ends_at_a_deadline_too(channel: Channel) -> None:
    with pytest.raises(PeerError, match=r"did not answer within 0\.1 s") as caught:
        channel.call(SiteInfo, "GET", "/drips", seconds=0.1)
    assert unanswered(caught.value)


def test_an_answer_without_end_is_not_taken_into_memory(channel: Channel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.exchange.ANSWER_BYTES_MAX", 10)
    with pytest.raises(PeerError, match="longer than 10 bytes"):
        channel.call(SiteInfo, "GET", "/problem")
