"""Volumes on a real controller with real nbdkit."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from controller.api.models import PoolAdd, ServerState, VolumeCreate
from controller.errors import CapacityError, ConflictError, NotFoundError, UsageError
from tests.support.controllers import ControllerProcess
from tests.support.nbdkit import connected

SIZE = 16 << 20


def test_what_nbdcopy_puts_in_comes_out(tokyo: ControllerProcess, directory: Path) -> None:
    volume = tokyo.client.create_volume(VolumeCreate(name="data", size_bytes=SIZE))
    assert volume.server is ServerState.RUNNING
    assert volume.uri is not None
    source, copy = directory / "source", directory / "copy"
    source.write_bytes(os.urandom(1 << 20) * 16)
    subprocess.run(["nbdcopy", source, volume.uri], check=True, timeout=60)
    subprocess.run(["nbdcopy", volume.uri, copy], check=True, timeout=60)
    assert copy.read_bytes() == source.read_bytes()


def test_a_volume_that_is_connected_is_not_deleted(tokyo: ControllerProcess) -> None:
    volume = tokyo.client.create_volume(VolumeCreate(name="data", size_bytes=SIZE))
    assert volume.uri is not None
    with connected(volume.uri), pytest.raises(ConflictError, match="1 client connected to volume"):
        tokyo.client.delete_volume("data")
    tokyo.client.delete_volume("data")
    assert not os.path.exists(volume.backing)
    with pytest.raises(NotFoundError, match="volume data does not exist"):
        tokyo.client.volume("data")


def test_a_given_backing_is_checked_and_never_removed(tokyo: ControllerProcess, directory: Path) -> None:
    backing = directory / "disk"
    backing.write_bytes(b"keep me" * 1000)
    os.truncate(backing, SIZE)
    with pytest.raises(CapacityError, match="is 16777216 bytes long"):
        tokyo.client.create_volume(VolumeCreate(name="data", size_bytes=2 * SIZE, backing=str(backing)))
    volume = tokyo.client.create_volume(VolumeCreate(name="data", size_bytes=SIZE, backing=str(backing)))
    with pytest.raises(ConflictError, match="already used by volume data"):
        tokyo.client.create_volume(VolumeCreate(name="more", size_bytes=SIZE, backing=str(backing)))
    assert volume.uri is not None
    with connected(volume.uri) as handle:
        assert bytes(handle.pread(512, 0)).startswith(b"keep me")
    tokyo.client.delete_volume("data")
    assert backing.stat().st_size == SIZE


@pytest.mark.parametrize("size_bytes", [1 << 60, 1 << 80])
def test_a_pool_volume_longer_than_any_file_is_refused_and_leaves_nothing(
    tokyo: ControllerProcess, size_bytes: int
) -> None:
    with pytest.raises(CapacityError, match=f"can be {size_bytes >> 50} PiB long"):
        tokyo.client.add_to_pool(PoolAdd(name="p", size_bytes=size_bytes))
    assert tokyo.client.pool() == []


@pytest.mark.parametrize(
    ("request_", "kind", "words"),
    [
        (VolumeCreate(name="a", size_bytes=1000), UsageError, "not a multiple of 512"),
        (VolumeCreate(name="a", size_bytes=8192 << 50), CapacityError, "can be 8192 PiB long"),
        (VolumeCreate(name="a", size_bytes=512, backing="relative"), UsageError, "not an absolute path"),
        (VolumeCreate(name="a", size_bytes=512, backing="/dev/null"), UsageError, "neither a file nor"),
        (VolumeCreate(name="a", size_bytes=512, backing="/nowhere/at/all"), NotFoundError, "does not exist"),
    ],
)
def test_what_cannot_be_a_volume_is_refused_and_leaves_nothing(
    tokyo: ControllerProcess, request_: VolumeCreate, kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        tokyo.client.create_volume(request_)
    assert tokyo.client.volumes() == []


def test_the_pool_takes_paths_and_sizes(tokyo: ControllerProcess, directory: Path) -> None:
    made = tokyo.client.add_to_pool(PoolAdd(name="p1", size_bytes=8 << 20))
    disk = directory / "disk"
    disk.write_bytes(bytes(4 << 20))
    given = tokyo.client.add_to_pool(PoolAdd(name="p2", path=str(disk)))
    assert [given.size_bytes, made.size_bytes] == [4 << 20, 8 << 20]
    with pytest.raises(UsageError, match="either a path or a size"):
        tokyo.client.add_to_pool(PoolAdd(name="p3"))
    with pytest.raises(ConflictError, match="already exists"):
        tokyo.client.add_to_pool(PoolAdd(name="p1", size_bytes=8 << 20))
    for name in ("p1", "p2"):
        tokyo.client.remove_from_pool(name)
    assert tokyo.client.pool() == []
    assert disk.exists()
    assert not os.path.exists(made.path)
