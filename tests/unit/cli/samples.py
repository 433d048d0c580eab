"""Answers of an agent as they look in practice."""

from __future__ import annotations

from typing import Any

from controller.api.models import JournalState
from hostagent.api.models import JournalSides, PairStatus

TIME_NS = 1_790_000_103_200_000_000  # 2026-09-21T14:15:03.2Z
GIB = 1 << 30


def side(name: str, site: str, **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "side": name,
        "site": site,
        "volumes": ["data", "log"],
        "state": "PAIR",
        "sequence": 411_001,
        "journal_percent": 3.2,
        "journal_bytes": 8 * GIB,
        "copy_percent": None,
        "lag_seconds": None,
        "lag_bytes": None,
    }
    return values | changes


def pair_status(**changes: Any) -> PairStatus:
    """A pair as in the operations manual."""
    values: dict[str, Any] = {
        "group": "db",
        "verdict": "OK",
        "state": "PAIR",
        "number": 2,
        "line": "db is protected: tokyo -> osaka, lag 0.2 s (1.1 MiB), last restored 10:15:03.2",
        "lag_seconds": 0.2,
        "lag_bytes": 1_153_434,
        "generation": 1,
        "sides": [
            side("P-VOL", "tokyo"),
            side("S-VOL", "osaka", sequence=410_871, journal_percent=1.4, copy_percent=100.0, lag_seconds=0.2),
        ],
    }
    return PairStatus.model_validate(values | changes)


def copying(percent: float) -> PairStatus:
    return pair_status(
        state="COPY",
        number=1,
        verdict="WARN",
        line=f"db is copying {percent:.0f} %: tokyo -> osaka",
        sides=[side("P-VOL", "tokyo", state="COPY"), side("S-VOL", "osaka", state="COPY", copy_percent=percent)],
    )


def unreachable() -> PairStatus:
    return pair_status(
        verdict="CRIT",
        state="PSUE",
        number=6,
        line="db is not protected: tokyo unknown since 14:15:03",
        cause="the host agent of tokyo does not answer",
        next_command="pairvol pair takeover db",
        sides=[
            side("P-VOL", "tokyo", state=None, unknown_since_ns=TIME_NS),
            side("S-VOL", "osaka", state="PSUE", sequence=410_871, copy_percent=100.0),
        ],
    )


def journal_state(role: str, time_ns: int = TIME_NS, **pointers: tuple[int, int, int]) -> JournalState:
    """`pointers` map names to (sequence, data position, time)."""
    return JournalState.model_validate(
        {
            "group": "db",
            "uuid": "6a0f2c0e-7a44-4a1e-9f8e-0d7b7e6b1c11",
            "role": role,
            "generation": 1,
            "time_ns": time_ns,
            "mode": "journal" if role == "primary" else "direct",
            "acquisition": role == "primary",
            "pointers": {
                name: {"sequence": sequence, "data_position": position, "time_ns": when}
                for name, (sequence, position, when) in pointers.items()
            },
            "records_used": 130,
            "records_capacity": 1 << 20,
            "data_used_bytes": 256 << 20,
            "data_capacity_bytes": 8 * GIB,
            "fill_percent": 3.2,
            "copy_order_active": role == "secondary",
        }
    )


def journal_sides(time_ns: int, position: int) -> JournalSides:
    """Both sides at a moment at which the primary has written up to `position`; the secondary is 2048 blocks behind."""
    restored = (410_871, position - 2048, time_ns - 250_000_000)
    return JournalSides(
        primary=journal_state(
            "primary",
            time_ns,
            journal_in=(411_001, position, time_ns),
            durable=(411_001, position, time_ns),
            checkpoint=(400_000, position - 4096, 0),
            confirmed=restored,
        ),
        secondary=journal_state(
            "secondary", time_ns, already_read=(411_001, position, time_ns), already_restored=restored
        ),
    )
