"""The initial copy of a secondary group, beside journals and over the death of either end."""

from __future__ import annotations

import pytest

from controller.api.models import CopyState, InitialCopyMethod, InitialCopyOrder
from controller.journal.pointers import Pointer
from tests.integration.copy.sites import JournalServer, Secondary, Writer, files, source_at
from tests.support.processes import Processes
from tests.support.proxy import Faults, Proxy
from tests.support.waiting import wait_until
from tests.unit.copy.parts import Primary, block, follow, initial


def test_initial_copy_beside_journals_and_restore(
    primary: Primary, server: JournalServer, secondary: Secondary, processes: Processes
) -> None:
    for index, volume in primary.volumes.items():  # initial data of which there is no journal, and much of nothing
        volume[4096 : 4096 + (len(volume) // 4)] = bytes(range(256)) * (len(volume) // 1024)
        volume[-512:] = block(index + 1000)
    pvols = files(primary)
    for index in pvols:
        secondary.svols[index].pwrite(b"x" * 65536, 1 << 19)  # a used SVOL
    source = source_at(primary, server.uri, {index: path.name for index, path in pvols.items()})
    writer = Writer(primary, secondary, pvols, 3000)
    secondary.group.order_copy(follow(source))
    writer.start()
    wait_until(lambda: secondary.pointer(Pointer.ALREADY_RESTORED) > 100, 60)
    secondary.group.order_initial_copy(initial(source))
    secondary.group.order_initial_copy(initial(source))  # the same again changes nothing
    wait_until(lambda: secondary.group.snapshot().initial_copy.state is CopyState.DONE, 60)
    consistent = secondary.group.snapshot().consistent_sequence
    writer.join(120)
    assert writer.error is None
    assert consistent is not None
    assert 100 < consistent <= primary.end.sequence
    secondary.wait_restored(primary.end.sequence)
    assert secondary.equals(primary.volumes)
    shown = secondary.group.snapshot().initial_copy
    assert shown.bytes_done == shown.bytes_total == sum(map(len, primary.volumes.values()))
    secondary.group.order_initial_copy(initial(source))
    assert secondary.group.snapshot().initial_copy.state is CopyState.DONE
    secondary.group.stop()
    secondary.open()
    assert secondary.group.snapshot().consistent_sequence == consistent


def test_initial_copy_goes_on_after_the_server_and_the_secondary_died(
    primary: Primary, server: JournalServer, secondary: Secondary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controller.copy.initial.WINDOW_BYTES_MAX", 1 << 18)
    monkeypatch.setattr("controller.copy.initial.SAVE_SECONDS", 0.0)
    for volume in primary.volumes.values():
        volume[:] = bytes(range(256)) * (len(volume) // 256)
    pvols = files(primary)
    with Proxy(("127.0.0.1", server.port)) as proxy:
        source = source_at(primary, f"nbd://127.0.0.1:{proxy.address[1]}", {i: p.name for i, p in pvols.items()})
        proxy.set(Faults(latency_seconds=0.002))
        secondary.group.order_initial_copy(initial(source))
        wait_until(lambda: secondary.group.snapshot().initial_copy.bytes_done > 1 << 20, 60)
        proxy.cut()
        wait_until(lambda: "initial_copy.link_lost" in {name for name, _ in secondary.events})
        assert secondary.group.snapshot().initial_copy.state is CopyState.RUNNING
        secondary.group.stop()
        proxy.heal()
        secondary.open()  # goes on by itself, at the cursor
        assert secondary.group.snapshot().initial_copy.bytes_done >= 1 << 20
        wait_until(lambda: secondary.group.snapshot().initial_copy.state is CopyState.DONE, 60)
    assert secondary.equals(primary.volumes)


def test_no_initial_copy_is_consistent_from_the_first_journal(primary: Primary, secondary: Secondary) -> None:
    secondary.group.order_initial_copy(InitialCopyOrder(source=primary.source(), method=InitialCopyMethod.NONE))
    snapshot = secondary.group.snapshot()
    assert (snapshot.initial_copy.state, snapshot.consistent_sequence) == (CopyState.DONE, 0)
