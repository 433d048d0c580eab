"""Events keep their numbers over restarts, and whoever waits is woken."""

from __future__ import annotations

import asyncio
from pathlib import Path

from controller.events import Events


def test_numbers_go_on_after_a_restart_and_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    events = Events(path, "tokyo")
    events.emit("info", "volume.created", "one", {"volume": "a"})
    events.emit("error", "server.died", "two", group="db")
    events.close()
    path.write_bytes(path.read_bytes() + b'{"number": 3, "ti')
    events = Events(path, "tokyo")
    assert [event.message for event in events.after(0)] == ["one", "two"]
    assert events.emit("info", "x.y", "three").number == 3
    second = events.after(1)[0]
    assert (second.number, second.group, second.site) == (2, "db", "tokyo")
    events.close()


def test_the_file_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    events = Events(path, "tokyo", bytes_max=2000)
    for number in range(100):
        events.emit("info", "x.y", f"message {number}")
    events.close()
    assert sum(each.stat().st_size for each in tmp_path.iterdir()) < 4500
    events = Events(path, "tokyo")
    assert events.emit("info", "x.y", "next").number == 101
    events.close()


def test_a_waiter_is_woken_by_an_event_and_by_time(tmp_path: Path) -> None:
    events = Events(tmp_path / "events.jsonl", "tokyo")

    async def wait() -> tuple[list[str], list[str]]:
        waiting = asyncio.create_task(events.wait_after(0, 20))
        await asyncio.sleep(0)
        await asyncio.to_thread(events.emit, "info", "x.y", "here")
        woken = await waiting
        late = await events.wait_after(1, 0.01)
        return [event.message for event in woken], [event.message for event in late]

    assert asyncio.run(wait()) == (["here"], [])
    events.close()


def test_a_disk_that_refuses_does_not_stop_events(tmp_path: Path) -> None:
    events = Events(tmp_path / "events.jsonl", "tokyo", bytes_max=1)
    (tmp_path / "events.jsonl.1").mkdir()  # the rotation fails
    events.emit("info", "x.y", "one")
    events.emit("info", "x.y", "two")
    assert [event.message for event in events.after(0)] == ["one", "two"]
    events.close()
