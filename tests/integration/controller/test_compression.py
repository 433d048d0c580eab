"""A pair whose link is compressed, between two controllers: it holds the same, whatever becomes of the relay."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.api.models import Compression, CompressionOrder, CopyOrder, InitialCopyOrder, JournalState, VolumeCreate
from controller.copy.ways import RETRY_SECONDS_MAX
from controller.errors import ConflictError
from tests.support.controllers import ControllerProcess, controllers
from tests.support.nbdkit import connected, read_all
from tests.support.pairs import ControllerPair
from tests.support.waiting import wait_until

MIB = 1 << 20
SIZE = 16 * MIB
LINE = b"what a database page may hold, again and again, number %08d\n"
ZSTD = CompressionOrder(compression=Compression.ZSTD)
NONE = CompressionOrder(compression=Compression.NONE)


def page(number: int) -> bytes:
    """256 KiB that compress well, no two alike."""
    line = LINE % number
    return (line * (MIB // 4 // len(line) + 1))[: MIB // 4]


class Site:
    """A pair of two controllers that is copied through the relay."""

    def __init__(self, tokyo: ControllerProcess, osaka: ControllerProcess) -> None:
        self.tokyo, self.osaka = tokyo, osaka
        tokyo.client.create_volume(VolumeCreate(name="data", size_bytes=SIZE))
        self.number = 0
        self.uri = tokyo.wait_served("data")
        self.write(16)
        self.pair = ControllerPair(tokyo, osaka, {"data": SIZE})

    def write(self, pages: int) -> None:
        with connected(self.uri) as handle:
            for _ in range(pages):
                self.number += 1
                handle.pwrite(page(self.number), (self.number * MIB // 4) % SIZE)
            handle.flush()

    def order(self) -> None:
        """What the agents do when they have heard where the primary is read."""
        source = self.pair.source()
        self.osaka.client.order_initial_copy("db", InitialCopyOrder(source=source))
        self.osaka.client.order_copy("db", CopyOrder(source=source, lease_seconds=60))

    def wait_way(self, compression: Compression, seconds: float = 30.0) -> JournalState:
        def there() -> JournalState | None:
            state = self.osaka.client.state("db")
            return state if state.compression is compression and state.link_ok else None

        found = wait_until(there, seconds, f"the link to be read with {compression}")
        assert found is not None
        return found

    def follow(self, pages: int = 4) -> None:
        """More is written, arrives and is right."""
        self.write(pages)
        self.pair.wait_restored()
        assert Path(self.osaka.client.volume("data").backing).read_bytes() == read_all(self.uri)


@pytest.fixture(scope="module")
def site(session_directory: Path) -> Iterator[Site]:
    """One for all tests here; each sets its own compression first."""
    with controllers(session_directory / "compression", "tokyo", "osaka") as (tokyo, osaka):
        yield Site(tokyo, osaka)


def test_it_is_turned_on_and_off_while_the_copy_runs(site: Site) -> None:
    site.tokyo.client.set_compression("db", ZSTD)
    assert site.tokyo.client.state("db").compression is Compression.ZSTD
    site.order()
    site.pair.wait_copied()
    site.follow()
    packed = site.wait_way(Compression.ZSTD)
    assert packed.initial_copy.bytes_copied >= 4 * MIB
    assert packed.transfer_bytes >= packed.initial_copy.bytes_copied
    assert packed.wire_bytes < packed.transfer_bytes / 4
    site.tokyo.client.set_compression("db", NONE)
    site.follow()  # round the relay that is gone, before anybody is told
    site.order()
    plain = site.wait_way(Compression.NONE)
    site.follow(8)
    after = site.osaka.client.state("db")
    assert after.wire_bytes - plain.wire_bytes >= 2 * MIB
    assert site.pair.source().links.relay is None
    site.tokyo.client.set_compression("db", ZSTD)
    site.order()
    site.wait_way(Compression.ZSTD)
    site.follow()


def test_the_relay_lives_on_without_its_controller_and_comes_back_when_it_dies(site: Site) -> None:
    site.tokyo.client.set_compression("db", ZSTD)
    site.order()
    site.pair.wait_copied()
    site.wait_way(Compression.ZSTD)
    relay = site.tokyo.server_pid("z-db")
    site.tokyo.kill()
    site.write(2)
    site.wait_way(Compression.ZSTD)
    site.tokyo.restart()
    site.follow()
    assert site.tokyo.server_pid("z-db") == relay
    os.kill(relay, signal.SIGKILL)
    site.follow()
    site.tokyo.wait_event("server.died", server="z-db")
    site.wait_way(Compression.ZSTD, 2 * RETRY_SECONDS_MAX)
    assert site.tokyo.server_pid("z-db") != relay
    site.follow()


def test_it_is_for_primaries(site: Site) -> None:
    with pytest.raises(ConflictError, match="it is secondary here"):
        site.osaka.client.set_compression("db", ZSTD)
