"""What the server tells a client, and what it refuses."""

from __future__ import annotations

import errno
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbd
import pytest

from tests.integration.volume_server.conftest import MIB
from tests.support.nbdkit import connected
from tests.support.processes import Processes
from tests.support.volume_server import GroupFiles, start_volume_server


@pytest.fixture
def handle(paired: GroupFiles) -> Iterator[nbd.NBD]:
    """A client that sends whatever it is asked to send."""
    with connected(paired.uri("data")) as handle:
        handle.set_strict_mode(0)
        yield handle


def test_exports_are_the_volumes(paired: GroupFiles) -> None:
    listed = subprocess.check_output(["nbdinfo", "--list", "--json", paired.uri()], text=True)
    exports = {export["export-name"]: export for export in json.loads(listed)["exports"]}
    assert set(exports) == {"data", "log"}
    data = exports["data"]
    assert data["export-size"] == 64 * MIB
    for can in ("can_multi_conn", "can_flush", "can_fua", "can_trim", "can_zero", "can_cache"):
        assert data[can], can
    assert not data["is_read_only"]
    with connected(paired.uri("data")) as handle:
        kinds = (nbd.SIZE_MINIMUM, nbd.SIZE_PREFERRED, nbd.SIZE_MAXIMUM)
        assert [handle.get_block_size(kind) for kind in kinds] == [512, 4096, 32 * MIB]


@pytest.mark.parametrize("name", ["nothing", "", "../data", "data ", "DATA", "d" * 4000, "dat\u00e4", "%s%n"])
def test_an_unknown_export_is_refused_and_the_next_client_served(paired: GroupFiles, name: str) -> None:
    handle = nbd.NBD()
    handle.set_export_name(name)
    with pytest.raises(nbd.Error):
        handle.connect_unix(str(paired.socket))
    with connected(paired.uri("log")) as good:
        assert good.get_size() == 8 * MIB


def test_the_empty_name_is_the_only_volume(unpaired: GroupFiles) -> None:
    with connected(unpaired.uri("")) as handle:
        assert handle.get_size() == 64 * MIB


@contextmanager
def refused(number: int) -> Iterator[None]:
    with pytest.raises(nbd.Error) as caught:
        yield
    assert caught.value.errnum == number


@pytest.mark.parametrize(("offset", "count"), [(1, 512), (0, 100), (256, 512), (4095, 2)])
def test_requests_that_are_no_blocks_are_invalid(handle: nbd.NBD, offset: int, count: int) -> None:
    with refused(errno.EINVAL):
        handle.pread(count, offset)
    with refused(errno.EINVAL):
        handle.pwrite(bytes(count), offset)
    with refused(errno.EINVAL):
        handle.zero(count, offset)
    with refused(errno.EINVAL):
        handle.trim(count, offset)
    handle.pwrite(bytes(512), 0)


@pytest.mark.parametrize("offset", [64 * MIB, 64 * MIB - 512, 1 << 62])
def test_beyond_the_end(handle: nbd.NBD, offset: int) -> None:
    with refused(errno.EINVAL):
        handle.pread(1024, offset)
    with refused(errno.ENOSPC):
        handle.pwrite(bytes(1024), offset)
    with refused(errno.ENOSPC):
        handle.zero(1024, offset)
    handle.pwrite(bytes(512), 64 * MIB - 512)


def test_the_longest_request_goes_and_a_longer_one_does_not(handle: nbd.NBD) -> None:
    longest = bytes(range(256)) * (32 * MIB // 256)
    handle.pwrite(longest, 4096)
    assert handle.pread(32 * MIB, 4096) == longest
    with refused(errno.EINVAL):
        handle.pread(32 * MIB + 512, 0)
    with refused(errno.EINVAL):
        handle.pwrite(bytes(32 * MIB + 512), 0)
    assert handle.pread(512, 4096) == longest[:512]


def test_four_gibibytes_less_one_block_at_once(short_path: Path, processes: Processes) -> None:
    files = GroupFiles(short_path, {"data": 5 << 30}, 16 * MIB).create()
    start_volume_server(processes, files)
    longest = (4 << 30) - 512
    with connected(files.uri("data")) as handle:
        handle.set_strict_mode(0)
        handle.pwrite(b"x" * 4096, 3 << 30)
        handle.zero(longest, 512)
        assert handle.pread(4096, 3 << 30) == bytes(4096)
        handle.pwrite(b"y" * 4096, 2 << 30)
        handle.trim(longest, 512)
        assert handle.pread(4096, 2 << 30) == bytes(4096)
        assert files.command("status")["appended"]["sequence"] == 4, "one record each"
    with connected_with_extents(files) as handle:
        assert block_status(handle, longest, 512) == [(longest, 3)]


def test_extents_are_cut_to_the_request(paired: GroupFiles) -> None:
    with connected_with_extents(paired) as handle:
        handle.pwrite(b"x" * MIB, MIB)
        assert block_status(handle, 4096, MIB + 4096) == [(4096, 0)]
        assert block_status(handle, 2 * MIB, 512 << 10) == [(512 << 10, 3), (MIB, 0), (512 << 10, 3)]
        handle.cache(MIB, MIB)


@contextmanager
def connected_with_extents(files: GroupFiles) -> Iterator[nbd.NBD]:
    handle = nbd.NBD()
    handle.add_meta_context(nbd.CONTEXT_BASE_ALLOCATION)
    handle.set_strict_mode(0)
    handle.connect_uri(files.uri("data"))
    try:
        yield handle
    finally:
        handle.shutdown()


def block_status(handle: nbd.NBD, count: int, offset: int) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []

    def extent(context: str, at: int, entries: list[int], error: nbd.Buffer) -> int:
        found.extend(zip(entries[::2], entries[1::2], strict=True))
        return 0

    handle.block_status(count, offset, extent)
    return found
