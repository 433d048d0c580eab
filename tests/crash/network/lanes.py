"""What is wrong with a wire, and what that does to one packet. Pure; `wire.py` moves the packets.

Each direction of the wire carries two kinds of traffic, told apart by TCP
port: the control link (HTTP of the agents) and the data link (NBD). A `Lane`
is what is wrong with one of these four now.
"""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass, field
from typing import Any

CONTROL, DATA = "control", "data"
DIRECTIONS = ("out", "back")  # from the first site to the second; from the second to the first
BACKLOG_SECONDS = 0.5  # a slow wire keeps that much; more is dropped, as by any router
MTU_BYTES = 1500
SPOILED_BYTES_MIN = 1000  # packets with less are not spoiled: what they carry is no payload of NBD


@dataclass(frozen=True, slots=True)
class Lane:
    """Nothing is wrong when all fields are at their defaults."""

    loss: float = 0.0  # share of packets that vanish
    latency_seconds: float = 0.0
    rate_bits: float = 0.0  # a second; 0: no limit
    cut: bool = False  # every packet vanishes
    cut_in_answer: bool = False  # from the first full packet on, whatever carries payload vanishes
    spoil_every: int = 0  # in one of so many large packets two words change places: TCP's checksum stays right
    refuse_share: float = 0.0  # of each second in which another machine answers every packet with RST


@dataclass
class Faults:
    """Lanes by direction and kind of traffic; a lane that is not named is sound."""

    lanes: dict[str, Lane] = field(default_factory=dict)  # "out control", "back data", ...

    @classmethod
    def everywhere(
        cls, lane: Lane, *, directions: tuple[str, ...] = DIRECTIONS, kinds: tuple[str, ...] = (CONTROL, DATA)
    ) -> Faults:
        return cls({f"{direction} {kind}": lane for direction in directions for kind in kinds})

    def to_wire(self) -> dict[str, Any]:
        return {name: asdict(lane) for name, lane in self.lanes.items()}

    @classmethod
    def from_wire(cls, document: dict[str, Any]) -> Faults:
        return cls({name: Lane(**fields) for name, fields in document.items()})

    def lane(self, direction: str, kind: str) -> Lane:
        return self.lanes.get(f"{direction} {kind}", SOUND)


SOUND = Lane()


def turned_around(packet: bytes) -> bytes:
    """Source and destination address change places: each site sees itself as 127.0.0.1 and the other as 127.0.0.2.

    The checksums are sums, and stay right.
    """
    return packet[:12] + packet[16:20] + packet[12:16] + packet[20:]


def tcp_start(packet: bytes) -> int:
    """Where the TCP header begins; 0 for anything else than TCP over IPv4."""
    if len(packet) < 40 or packet[0] >> 4 != 4 or packet[9] != 6:
        return 0
    return (packet[0] & 15) * 4


def kind_of(packet: bytes, control_ports: frozenset[int]) -> str:
    """Which link a packet belongs to."""
    at = tcp_start(packet)
    if not at:
        return DATA
    ports = int.from_bytes(packet[at : at + 2], "big"), int.from_bytes(packet[at + 2 : at + 4], "big")
    return CONTROL if control_ports.intersection(ports) else DATA


def payload_bytes(packet: bytes) -> int:
    """How much a TCP packet carries; 0 for a mere acknowledgement, and for anything else."""
    at = tcp_start(packet)
    return len(packet) - at - (packet[at + 12] >> 4) * 4 if at else 0


def spoiled(packet: bytes, chooser: random.Random) -> bytes:
    """The packet with two different words of its payload exchanged; as it is when it is too small for that."""
    at = tcp_start(packet)
    payload = at + (packet[at + 12] >> 4) * 4 if at else len(packet)
    first = payload + (payload & 1)
    words = (len(packet) - first) // 2
    if len(packet) - payload < SPOILED_BYTES_MIN:
        return packet
    for _ in range(20):
        one, other = (first + 2 * chooser.randrange(words // 4, words) for _ in range(2))
        if packet[one : one + 2] != packet[other : other + 2]:
            changed = bytearray(packet)
            changed[one : one + 2], changed[other : other + 2] = packet[other : other + 2], packet[one : one + 2]
            return bytes(changed)
    return packet


def refusal(packet: bytes) -> bytes | None:
    """The RST with which a machine without that connection answers; None for a packet that is not answered."""
    at = tcp_start(packet)
    if not at or packet[at + 13] & 0x04:
        return None
    flags, header = packet[at + 13], (packet[at + 12] >> 4) * 4
    length = len(packet) - at - header + bool(flags & 0x02) + bool(flags & 0x01)
    sequence = int.from_bytes(packet[at + 4 : at + 8], "big")
    if flags & 0x10:
        numbers, answer = packet[at + 8 : at + 12] + bytes(4), 0x04
    else:
        numbers, answer = bytes(4) + ((sequence + length) % (1 << 32)).to_bytes(4, "big"), 0x14
    tcp = packet[at + 2 : at + 4] + packet[at : at + 2] + numbers + bytes([0x50, answer]) + bytes(6)
    addresses = packet[16:20] + packet[12:16]
    check = checksum(addresses + bytes([0, 6]) + len(tcp).to_bytes(2, "big") + tcp)
    tcp = tcp[:16] + check.to_bytes(2, "big") + tcp[18:]
    head = bytes([0x45, 0]) + (20 + len(tcp)).to_bytes(2, "big") + bytes([0, 0, 0x40, 0, 64, 6, 0, 0]) + addresses
    return head[:10] + checksum(head).to_bytes(2, "big") + head[12:] + tcp


def checksum(data: bytes) -> int:
    """Of IP and TCP."""
    total = sum(int.from_bytes(data[at : at + 2].ljust(2, b"\0"), "big") for at in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
