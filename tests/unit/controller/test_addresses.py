"""Listeners stay on this machine."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from controller import addresses
from controller.errors import ConflictError, UsageError


@pytest.mark.parametrize("text", ["127.0.0.1:7801", "[::1]:7801", "localhost:1", "unix:/run/pairvol/controller.sock"])
def test_loopback_and_unix_listeners_are_taken(text: str) -> None:
    assert str(addresses.parse_listener(text)) == text.replace("localhost", "localhost")


@pytest.mark.parametrize("text", ["0.0.0.0:7801", "192.0.2.1:7801", "[::]:7801", "example.org:80"])
def test_an_address_of_the_network_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(UsageError, match="is not a loopback address") as caught:
        addresses.parse_listener(text)
    assert "https://HOST:PORT" in caught.value.hint


@pytest.mark.parametrize("text", ["https://0.0.0.0:7801", "https://192.0.2.1:7801", "https://[::]:7801"])
def test_with_certificates_the_network_may_be_listened_at(text: str) -> None:
    address = addresses.parse_listener(text)
    assert address.tls
    assert str(address) == address.url == text


def test_all_addresses_is_called_at_this_machine() -> None:
    assert addresses.callable_address("https://0.0.0.0:7801") == "https://127.0.0.1:7801"
    assert addresses.callable_address("https://[::]:7801") == "https://[::1]:7801"
    assert addresses.callable_address("https://192.0.2.1:7801") == "https://192.0.2.1:7801"
    assert addresses.callable_address("unix:/r/s") == "unix:/r/s"


@pytest.mark.parametrize("text", ["", "7801", "127.0.0.1:", "127.0.0.1:99999", ":80"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not an address"):
        addresses.parse_address(text)


def test_a_socket_path_longer_than_the_kernel_takes_is_refused() -> None:
    with pytest.raises(UsageError, match="108 bytes long, the kernel takes 107"):
        addresses.parse_address("unix:/" + "x" * 107)
    addresses.parse_address("unix:/" + "x" * 106)


def test_a_stale_socket_is_replaced_and_a_live_one_is_not(tmp_path: Path) -> None:
    address = addresses.parse_address(f"unix:{tmp_path}/s")
    addresses.open_listener(address).close()  # leaves its name behind
    with addresses.open_listener(address), pytest.raises(ConflictError, match="already listens"):
        addresses.open_listener(address)


def test_a_taken_port_is_seen() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not addresses.port_is_free("127.0.0.1", port)
        with pytest.raises(ConflictError, match="cannot listen at"):
            addresses.open_listener(addresses.parse_listener(f"127.0.0.1:{port}"))
    assert addresses.free_port("127.0.0.1", {port}) != port
