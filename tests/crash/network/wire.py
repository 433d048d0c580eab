"""The wire between two namespaces: a process that carries IP packets from one TUN device to the other.

    python -m tests.crash.network.wire FIRST_FD SECOND_FD SEED PORT[,PORT]

Reads one JSON document a line from its standard input (faults, as of
`lanes.py`, or null), puts them in force and answers with a line of counts.
Ends when that input ends. The kernel's netem would do the same where it is built in; a
process does it on any kernel, alike from run to run.
"""

from __future__ import annotations

import heapq
import json
import os
import random
import select
import sys
import time
from collections import Counter

from tests.crash.network.lanes import (
    BACKLOG_SECONDS,
    DIRECTIONS,
    MTU_BYTES,
    Faults,
    Lane,
    kind_of,
    payload_bytes,
    refusal,
    spoiled,
    turned_around,
)

PACKET_BYTES_MAX = 65535


class Wire:
    """Moves packets; `counts` is what became of them, by direction and kind of traffic."""

    def __init__(self, ends: tuple[int, int], seed: int, control_ports: frozenset[int]) -> None:
        self.ends = ends
        self.faults = Faults()
        self.counts: Counter[str] = Counter()
        self._ports = control_ports
        self._chooser = random.Random(seed)
        self._late: list[tuple[float, int, int, bytes]] = []  # due, number, end, packet
        self._number = 0
        self._free_at: dict[str, float] = {}  # when a slow lane has sent what it was given
        self._large: Counter[str] = Counter()
        self._cut: set[str] = set()  # lanes that are cut in the middle of an answer

    def main(self) -> None:
        while True:
            due = self._late[0][0] - time.monotonic() if self._late else None
            ready, _, _ = select.select([*self.ends, 0], [], [], None if due is None else max(0.0, due))
            for number, end in enumerate(self.ends):
                if end in ready:
                    self._take(number)
            while self._late and self._late[0][0] <= time.monotonic():
                _, _, end, packet = heapq.heappop(self._late)
                self._give(end, packet)
            if 0 in ready and not self._obey():
                return

    def _obey(self) -> bool:
        line = sys.stdin.readline()
        if not line:
            return False
        document = json.loads(line)
        if document is not None:
            self.faults = Faults.from_wire(document)
            self._cut.clear()
        print(json.dumps(self.counts), flush=True)
        return True

    def _take(self, number: int) -> None:
        """Read what waits at one end."""
        for _ in range(64):
            try:
                packet = os.read(self.ends[number], PACKET_BYTES_MAX)
            except BlockingIOError:
                return
            except OSError:  # the device is down
                self.counts["down"] += 1
                return
            kind = kind_of(packet, self._ports)
            name = f"{DIRECTIONS[number]} {kind}"
            lane = self.faults.lane(DIRECTIONS[number], kind)
            self._pass(name, lane, number, packet)

    def _pass(self, name: str, lane: Lane, number: int, packet: bytes) -> None:
        now = time.monotonic()
        if lane.refuse_share and now % 1.0 < lane.refuse_share:
            self.counts[f"{name} refused"] += 1
            if answer := refusal(packet):
                self._give(self.ends[number], answer)
            return
        if lane.cut or (lane.loss and self._chooser.random() < lane.loss):
            self.counts[f"{name} dropped"] += 1
            return
        if name in self._cut and payload_bytes(packet):
            self.counts[f"{name} dropped"] += 1
            return
        if lane.cut_in_answer and len(packet) == MTU_BYTES:  # what ends here goes on in the next packet
            self._cut.add(name)
            self.counts[f"{name} cut in an answer"] += 1
        if lane.spoil_every and len(packet) > 1000:
            self._large[name] += 1
            if self._large[name] % lane.spoil_every == 0:
                changed = spoiled(packet, self._chooser)
                self.counts[f"{name} spoiled"] += changed != packet
                packet = changed
        due = now + lane.latency_seconds
        if lane.rate_bits:
            free = max(now, self._free_at.get(name, now))
            if free - now > BACKLOG_SECONDS:
                self.counts[f"{name} overflowed"] += 1
                return
            self._free_at[name] = free = free + len(packet) * 8 / lane.rate_bits
            due += free - now
        self.counts[f"{name} passed"] += 1
        packet, end = turned_around(packet), self.ends[1 - number]
        if due <= now:
            self._give(end, packet)
            return
        self.counts[f"{name} delayed"] += 1
        self._number += 1
        heapq.heappush(self._late, (due, self._number, end, packet))

    def _give(self, end: int, packet: bytes) -> None:
        try:
            os.write(end, packet)
        except OSError:  # the device is down, or its queue is full: the packet is lost
            self.counts["lost at the end"] += 1


if __name__ == "__main__":
    first, second, seed, ports = sys.argv[1:]
    Wire((int(first), int(second)), int(seed), frozenset(map(int, ports.split(",")))).main()
