"""What a copy looks at, against a model of flags."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from controller.api.models import ChangedRegions, Composition, CopySource, InitialCopyMethod, InitialCopyOrder, Links
from controller.copy.areas import CopyAreas, remaining
from controller.volume import regions
from controller.volume.regions import REGION_BYTES

SIZES = {0: 9 * REGION_BYTES + 512, 2: 3 * REGION_BYTES}

SOURCE = CopySource(
    site="tokyo",
    uuid="g",
    generation=1,
    composition=Composition(
        journal_uuid="j", metadata_head_lba=128, metadata_block_count=8, data_head_lba=136, data_block_count=8
    ),
    links=Links(journal_uri="", pointers_uri="", volume_uris={}),
)


def order_for(flags: dict[int, bytearray]) -> InitialCopyOrder:
    packed = {index: regions.pack(each) for index, each in flags.items()}
    changed = ChangedRegions(epoch="e", region_bytes=REGION_BYTES, sequence=1, volumes=regions.to_wire(packed))
    return InitialCopyOrder(source=SOURCE, method=InitialCopyMethod.DIFFERENTIAL, regions=changed)


@given(seed=st.integers(0, 1 << 30), share=st.floats(0, 1))
def test_areas_are_the_flags_in_order_and_what_is_left_is_never_too_little(seed: int, share: float) -> None:
    dice = random.Random(seed)
    flags = {
        index: bytearray(dice.randrange(2) for _ in range(regions.count_of(size))) for index, size in SIZES.items()
    }
    order = order_for(flags)
    areas = CopyAreas(order, SIZES)
    found = [(a.volume, at) for a in areas.after(0) for at in range(a.offset, a.offset + a.length, 512)]
    expected = [
        (index, at) for index, size in SIZES.items() for at in range(0, size, 512) if flags[index][at // REGION_BYTES]
    ]
    assert found == expected
    assert areas.bytes_total == 512 * len(expected)
    done = int(share * areas.bytes_total) // 512 * 512
    left = [(a.volume, at) for a in areas.after(done) for at in range(a.offset, a.offset + a.length, 512)]
    assert left == expected[done // 512 :]
    rest = remaining(order, done, SIZES)
    for volume, at in left:
        assert regions.unpack(rest[volume], SIZES[volume])[at // REGION_BYTES]


def test_a_whole_copy_is_every_byte() -> None:
    assert [tuple(area) for area in CopyAreas(None, SIZES).after(0)] == [(0, 0, SIZES[0]), (2, 0, SIZES[2])]


@given(data=st.data())
def test_union_and_wire_are_faithful(data: st.DataObject) -> None:
    sets = [
        {index: data.draw(st.binary(max_size=2)) for index in SIZES if data.draw(st.booleans())}
        for _ in range(data.draw(st.integers(0, 3)))
    ]
    whole = regions.union(sets, SIZES)
    for index, size in SIZES.items():
        flags = regions.unpack(whole[index], size)
        for at in range(len(flags)):
            assert flags[at] == any(at // 8 < len(s.get(index, b"")) and s[index][at // 8] >> at % 8 & 1 for s in sets)
    changed = ChangedRegions(epoch="e", region_bytes=REGION_BYTES, sequence=0, volumes=regions.to_wire(whole))
    assert regions.from_wire(changed) == whole
