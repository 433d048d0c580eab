"""What a compressed data link carries: it comes out as it went in, and nothing else comes out of damage."""

from __future__ import annotations

import random
import resource

import crc32c
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from controller.errors import IntegrityError
from controller.relay.frames import (
    BLOCK,
    GREETING,
    RAW_BYTES_MAX,
    Answer,
    Packing,
    Target,
    Unpacking,
    greeted,
    greeting,
)

TEXT = b"what a page of a database may hold " * 100


def packed(*pieces: bytes) -> bytes:
    packing, blocks = Packing(), b""
    for piece in pieces:
        packing.put(piece)
        blocks += packing.take()
        assert packing.take() == b""
    return blocks


def unpacked(wire: bytes, cuts: list[int]) -> bytes:
    """What comes out when it arrives in pieces that end there."""
    unpacking, out, start = Unpacking(), b"", 0
    for end in sorted({min(cut, len(wire)) for cut in cuts} | {len(wire)}):
        if end > start:
            unpacking.put(wire[start:end])
            start = end
        while block := unpacking.take():
            assert len(block) <= RAW_BYTES_MAX
            out += block
    return out


@given(
    pieces=st.lists(st.binary(min_size=1, max_size=200) | st.just(TEXT) | st.just(bytes(RAW_BYTES_MAX)), max_size=6),
    cuts=st.lists(st.integers(0, 4000), max_size=8),
)
def test_what_goes_in_comes_out(pieces: list[bytes], cuts: list[int]) -> None:
    assert unpacked(packed(*pieces), cuts) == b"".join(pieces)


def test_what_does_not_compress_travels_as_it_is() -> None:
    noise = random.Random(1).randbytes(RAW_BYTES_MAX)
    assert len(packed(noise)) == len(noise) + BLOCK.size
    assert len(packed(TEXT)) < len(TEXT) / 10


@given(st.data())
def test_a_changed_byte_changes_nothing_that_comes_out(data: st.DataObject) -> None:
    wire = bytearray(packed(TEXT, TEXT[:500]))
    at = data.draw(st.integers(0, len(wire) - 1))
    wire[at] ^= data.draw(st.integers(1, 255))
    try:
        found = unpacked(bytes(wire), [])
    except IntegrityError:
        return
    whole = TEXT + TEXT[:500]
    assert whole.startswith(found)  # a length that grew: what follows is waited for


@pytest.mark.parametrize(
    ("raw_bytes", "packed_bytes"),
    [(0, 0), (0, 1), (1, 0), (1, 2), (RAW_BYTES_MAX + 1, 1), (RAW_BYTES_MAX + 1, RAW_BYTES_MAX + 1), (2**32 - 1, 9)],
)
def test_lengths_that_no_block_has_are_refused_before_anything_is_read(raw_bytes: int, packed_bytes: int) -> None:
    with pytest.raises(IntegrityError, match="damaged block"):
        unpacked(BLOCK.pack(raw_bytes, packed_bytes, 0), [])


def bombs() -> list[bytes]:
    """Frames of a few KiB that say, or hold, more than a block may."""
    giant = zstandard.ZstdCompressor(level=1).compress(bytes(64 << 20))
    hidden = zstandard.ZstdCompressor(level=1, write_content_size=False).compress(bytes(64 << 20))
    other = zstandard.ZstdCompressor(level=1).compress(bytes(RAW_BYTES_MAX - 1))
    return [giant, hidden, other, b"\x28\xb5\x2f\xfd" + b"\xff" * 40, b"no frame at all"]


@pytest.mark.parametrize("bomb", bombs())
def test_a_bomb_is_refused_and_takes_no_memory(bomb: bytes) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(IntegrityError, match="damaged block"):
        unpacked(BLOCK.pack(RAW_BYTES_MAX, len(bomb), 0) + bomb, [])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 << 10  # KiB


def test_many_small_blocks_come_out_one_at_a_time() -> None:
    wire = packed(bytes(RAW_BYTES_MAX)) * 1000  # 256 MB in 30 KB
    unpacking = Unpacking()
    unpacking.put(wire)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert sum(1 for _ in iter(unpacking.take, b"")) == 1000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 << 10


def test_a_frame_with_something_behind_it_is_damage() -> None:
    frame = zstandard.ZstdCompressor().compress(TEXT) + b"x"
    with pytest.raises(IntegrityError, match="damaged block"):
        unpacked(BLOCK.pack(len(TEXT), len(frame), crc32c.crc32c(TEXT)) + frame, [])


@pytest.mark.parametrize("value", [*Target, *Answer])
def test_greetings(value: Target | Answer) -> None:
    assert greeted(greeting(value)) == value
    for wrong in (b"HTTP/1.1 400 Bad"[: GREETING.size], greeting(value)[:-1] + b"x", bytes(GREETING.size)):
        with pytest.raises(IntegrityError, match="no compressing relay"):
            greeted(wrong)
