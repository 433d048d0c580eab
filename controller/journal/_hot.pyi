"""Types of the compiled loops; what they do is said in hot/ and in the plain ones they stand for."""

from collections.abc import Callable
from mmap import mmap

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Buffer

from controller.journal.layout import Records

class Append:
    sequence: int
    data_position: int
    time_ns: int
    sequence_limit: int
    data_limit: int
    def __init__(
        self,
        file: int,
        map: mmap,
        data_start: int,
        data_bytes: int,
        slots_start: int,
        slot_count: int,
        generation: int,
        tag: int,
        sequence: int,
        data_position: int,
        time_ns: int,
        crc32c: Callable[[Buffer], int],
        clock: Callable[[], int] | None,
    ) -> None: ...
    def write(self, volume: int, lba: int, data: Buffer, blocks: int, /) -> int: ...
    def clear(self, volume: int, lba: int, blocks: int, flag: int, /) -> None: ...
    def base(self, volume: int, lba: int, data: Buffer, blocks: int, /) -> int: ...
    def base_clear(self, volume: int, lba: int, blocks: int, flag: int, /) -> None: ...
    def marker(self, data: Buffer, blocks: int, /) -> None: ...
    def fits(self, blocks: int, /) -> bool: ...
    def detach(self) -> None: ...

def read_at(file: int, buffer: Buffer, offset: int, /) -> int: ...
def right_records(
    records: Records,
    sequence: int,
    data_position: int,
    tag: int,
    generation_min: int,
    generation_max: int,
    limits: NDArray[np.int64],
    /,
) -> int: ...
def right_sums(
    data: Buffer, start: NDArray[np.int64], length: NDArray[np.int64], stored: NDArray[np.uint32], /
) -> int: ...
def write_pieces(
    target: int,
    map: mmap,
    data_start: int,
    data_bytes: int,
    lba: Buffer,
    position: Buffer,
    blocks: Buffer,
    /,
) -> None: ...
