"""The keys of everything that --json prints. Run as a program it adds what is new to the list that is kept.

Scripts rely on them: keys are only ever added (test_contract.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from controller.api.lifecycle import Orphan
from controller.api.markers import NamedMarker
from controller.api.models import Event, JournalState, PoolVolume, Volume
from hostagent.api.drills import DrillLedger, DrillReport, MarkerSides
from hostagent.api.history import PairHistory
from hostagent.api.models import Attachment, JournalSides, Pair, PairDeletion, PairStatus, TakeoverReport
from hostagent.api.verify import VerifyReport
from hostagent.cli.journal_view import journal_report
from hostagent.cli.top_view import Look, row
from tests.unit.cli.samples import TIME_NS, journal_sides, pair_status

KEPT: Final = Path(__file__).with_name("json_keys.json")
SHAPES: Final[dict[str, type[BaseModel]]] = {
    "pool add, list": PoolVolume,
    "volume create, list, show": Volume,
    "volume attach": Attachment,
    "pair create, status, wait, split, resync": PairStatus,
    "pair status --history": PairHistory,
    "pair list": Pair,
    "pair verify": VerifyReport,
    "pair takeover": TakeoverReport,
    "pair delete": PairDeletion,
    "journal start, stop, copy, restore, purge": JournalState,
    "journal drop": Orphan,
    "marker put": NamedMarker,
    "marker list": MarkerSides,
    "drill start, stop": DrillReport,
    "drill list": DrillLedger,
    "events": Event,
}


def keys() -> dict[str, list[str]]:
    """By command: dotted names, `[]` for what is in a list, `*` for names that vary."""
    found = {commands: sorted(set(_of_schema(shape.model_json_schema()))) for commands, shape in SHAPES.items()}
    earlier, later = journal_sides(TIME_NS, 10_000), journal_sides(TIME_NS + 10**9, 10_000)
    found["journal status"] = sorted(journal_report(pair_status(), earlier, later))
    found["top"] = sorted(row(None, Look(pair_status(), JournalSides(primary=None, secondary=None))))
    return found


def _of_schema(schema: dict[str, Any], definitions: dict[str, Any] | None = None, before: str = "") -> Iterator[str]:
    known = definitions if definitions is not None else schema.get("$defs", {})
    if "$ref" in schema:
        yield from _of_schema(known[schema["$ref"].rpartition("/")[2]], known, before)
    for each in (*schema.get("anyOf", ()), *schema.get("allOf", ())):
        yield from _of_schema(each, known, before)
    for name, part in schema.get("properties", {}).items():
        yield f"{before}{name}"
        yield from _of_schema(part, known, f"{before}{name}.")
    if isinstance(schema.get("items"), dict):
        yield from _of_schema(schema["items"], known, f"{before.removesuffix('.')}[].")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from _of_schema(schema["additionalProperties"], known, f"{before}*.")


def kept() -> dict[str, list[str]]:
    found: dict[str, list[str]] = json.loads(KEPT.read_text())
    return found


if __name__ == "__main__":
    old = kept() if KEPT.exists() else {}
    merged = {name: sorted({*names, *old.get(name, ())}) for name, names in keys().items()}
    KEPT.write_text(json.dumps(old | merged, indent=1) + "\n")
