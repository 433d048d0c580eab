"""What every simulated storage controller has: who it is, and how it tells its state.

Each kind of controller keeps what is durable apart from what a crash forgets,
and obeys by methods named after the calls of the controller's client:
`order_NAME(now, group, ...)`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from controller.api.models import (
    AcquisitionMode,
    Composition,
    Group,
    GroupVolume,
    InitialCopy,
    JournalState,
    Links,
    Position,
    Role,
    ServerState,
)
from controller.journal.pointers import Pointer
from tests.simulation.timeline import wall

COMPOSITION = Composition(
    journal_uuid="j", metadata_head_lba=8, metadata_block_count=64, data_head_lba=72, data_block_count=1024
)
Place = tuple[int, int]  # a journal's sequence number, and when it was written


@dataclass
class Controller:
    """`up` is the daemon; its volume server lives on without it."""

    name: str
    peer: str
    role: Role
    uuid: str
    up: bool = True
    generation: int = 1  # durable
    boots: int = 1  # starts of its machine
    step_ns: int = 0  # how far somebody set this site's clock, in all

    def clock(self, now: float) -> int:
        """What a clock says at this site."""
        return wall(now) + self.step_ns

    def state(self, now: float) -> JournalState:
        raise NotImplementedError

    def crash(self, now: float, *, power: bool = False) -> None:
        """The daemon dies; with `power` the volume server too, and hosts wait for word."""
        raise NotImplementedError

    @property
    def arrived(self) -> int:
        """The newest journal; a question that waits is answered when it moves."""
        raise NotImplementedError

    def order_state(self, now: float, group: str, after: int | None = None, wait: float = 0.0) -> JournalState:
        return self.state(now)

    def order_group(self, now: float, group: str) -> Group:
        return self.group()

    def group(self) -> Group:
        return Group.model_construct(
            name="db",
            uuid=self.uuid,
            role=self.role,
            generation=self.generation,
            peer_site=self.peer,
            volumes=[GroupVolume(index=0, name="data", size_bytes=4096)],
            journal_path="/j",
            journal_bytes=1,
            journal_visible=False,
            composition=COMPOSITION,
            links=Links(journal_uri=f"nbd://{self.name}", pointers_uri="nbd://p", volume_uris={"0": "nbd://v"}),
            acquisition=getattr(self, "acquisition", False),
        )

    def told(self, now: float, places: Mapping[Pointer, Place], used: int, capacity: int, **more: Any) -> JournalState:
        """The journal state: what all kinds say alike, and `more`."""
        alike: dict[str, Any] = {
            "group": "db",
            "uuid": self.uuid,
            "role": self.role,
            "generation": self.generation,
            "time_ns": self.clock(now),
            "steady_seconds": now,
            "boot": f"boot {self.boots}",
            "mode": AcquisitionMode.DIRECT,
            "acquisition": False,
            "pointers": {
                name.value: Position.model_construct(sequence=sequence, data_position=sequence * 8, time_ns=time_ns)
                for name, (sequence, time_ns) in places.items()
            },
            "records_used": used,
            "records_capacity": capacity,
            "data_used_bytes": used * 4096,
            "data_capacity_bytes": capacity * 4096,
            "fill_percent": 100.0 * used / capacity,
            "initial_copy": InitialCopy(),
            "consistent_sequence": None,
            "copy_order_active": False,
            "link_ok": None,
            "link_contact_ns": 0,
            "failure": None,
            "awaits_serve": False,
            "quiesced": False,
            "suspended_cause": None,
            "volume_server": ServerState.RUNNING,
            "journal_server": ServerState.RUNNING,
        }
        return JournalState.model_construct(**(alike | more))
