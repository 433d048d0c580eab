"""A group as large as it may be: 64 volumes, one journal, one order."""

from __future__ import annotations

import random
import uuid
from pathlib import Path

import pytest

from controller.api.lifecycle import MembersJoin, PromoteOrder
from controller.api.models import (
    Composition,
    CopySource,
    GroupCreate,
    GroupVolume,
    InitialCopyMethod,
    InitialCopyOrder,
    Links,
    Role,
    TakeoverRequest,
)
from controller.errors import ConflictError
from tests.support.controllers import controllers
from tests.support.nbdkit import connected
from tests.support.pairs import ControllerPair

MIB = 1 << 20
COUNT = 64


def write(uri: str, seed: int, content: bytearray) -> None:
    dice = random.Random(seed)
    with connected(uri) as handle:
        for _ in range(4):
            data, offset = dice.randbytes(4096), dice.randrange(MIB // 4096) * 4096
            handle.pwrite(data, offset)
            content[offset : offset + 4096] = data
        handle.flush()


def test_sixty_four_volumes_are_written_and_equal(directory: Path) -> None:
    """The primary is one that took over, so that 64 volumes are there without 64 servers of their own before."""
    members = [GroupVolume(index=index, name=f"v{index}", size_bytes=MIB) for index in range(COUNT)]
    request = GroupCreate(
        name="db",
        uuid=str(uuid.uuid4()),
        role=Role.SECONDARY,
        peer_site="osaka",
        volumes=members,
        journal_bytes=16 * MIB,
    )
    nowhere = CopySource(
        site="osaka",
        uuid=request.uuid,
        generation=1,
        composition=Composition(
            journal_uuid=request.uuid, metadata_head_lba=0, metadata_block_count=0, data_head_lba=0, data_block_count=0
        ),
        links=Links(journal_uri="", pointers_uri="", volume_uris={}),
    )
    with controllers(directory, "tokyo", "osaka") as (tokyo, osaka):
        tokyo.client.create_group(request)
        tokyo.client.order_initial_copy("db", InitialCopyOrder(source=nowhere, method=InitialCopyMethod.NONE))
        tokyo.client.take_over("db", TakeoverRequest(generation=2))
        osaka.client.create_group(request.model_copy(update={"generation": 2, "peer_site": "tokyo"}))
        tokyo.client.promote("db", PromoteOrder(generation=2, peer_site="osaka"))
        pair = ControllerPair.__new__(ControllerPair)
        pair.primary, pair.secondary = tokyo, osaka
        uris, contents = [tokyo.wait_served(member.name) for member in members], [bytearray(MIB) for _ in members]
        for index, uri in enumerate(uris):
            write(uri, index, contents[index])
        pair.order_initial_copy()
        pair.follow()
        for index, uri in enumerate(uris):
            write(uri, COUNT + index, contents[index])
        pair.wait_copied()
        assert pair.wait_restored() == 1 + 2 * 4 * COUNT
        for member, content in zip(members, contents, strict=True):
            assert Path(osaka.client.volume(member.name).backing).read_bytes() == content, member.name
        assert osaka.client.group("db").free_indices == []
        one_more = MembersJoin(volumes=[GroupVolume(index=63, name="more", size_bytes=MIB)])
        with pytest.raises(ConflictError, match="number 63: that number is taken"):
            osaka.client.join_volumes("db", one_more)
