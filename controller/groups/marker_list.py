"""The markers that a site knows of a group, in a file of JSON lines of its own.

The order of the list is the order of the journal. A marker that restore
passes again after a crash is in the list once.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from controller import durable
from controller.api.markers import NamedMarker
from controller.errors import StorageError
from controller.journal.markers import LISTED, parse_marker
from controller.lines import append_line, parsed_lines
from controller.restore.program import Marker

MARKERS_MAX: Final = 5000
FILE_BYTES_MAX: Final = 2 << 20


class MarkerList:
    """The markers known at one site. One thread adds; any may read a list of its own."""

    _writing: Final = threading.Lock()  # rare and short: one for all groups

    def __init__(self, path: Path) -> None:
        self._path = path

    def all(self) -> list[NamedMarker]:
        """In the order of the journal."""
        found: dict[tuple[int, int], NamedMarker] = {}
        for line in parsed_lines(self._path):
            with suppress(ValueError):
                marker = NamedMarker.model_validate(line)
                found[marker.sequence, marker.time_ns] = marker
        return [found[key] for key in sorted(found)]

    def add(self, marker: NamedMarker) -> None:
        """Durable when this returns."""
        with self._writing:
            if append_line(self._path, marker.model_dump_json()) > FILE_BYTES_MAX:
                with suppress(StorageError):  # the line is there; the next one tries again
                    self._rewrite(self.all()[-MARKERS_MAX:])

    def cut(self, sequence: int) -> None:
        """Journals after this one are no part of the volumes' history any more, nor are their markers."""
        with self._writing:
            known = self.all()
            kept = [marker for marker in known if marker.sequence <= sequence]
            if len(kept) < len(known):
                self._rewrite(kept)

    def _rewrite(self, markers: list[NamedMarker]) -> None:
        durable.write_bytes(self._path, b"".join(each.model_dump_json().encode() + b"\n" for each in markers))

    def collect(self, markers: Iterable[Marker]) -> None:
        """Restore comes past these: keep those that are listed; durable when this returns.

        One that is known is written again: who wrote it may have died before its sync.
        """
        for marker in _named(markers):
            self.add(marker)

    def complete(self, markers: Iterable[Marker]) -> None:
        """Keep those of these that are listed and not known yet."""
        known = {(marker.sequence, marker.time_ns) for marker in self.all()}
        for marker in _named(markers):
            if (marker.sequence, marker.time_ns) not in known:
                self.add(marker)


def _named(markers: Iterable[Marker]) -> list[NamedMarker]:
    return [found for marker in markers if (found := _listed(marker)) is not None]


def _listed(marker: Marker) -> NamedMarker | None:
    content = parse_marker(marker.payload)
    kind = next((each for each in LISTED if each == content.get("what")), None)
    if kind is None:
        return None
    name = LISTED[kind] or content.get("name")
    try:
        return NamedMarker.model_validate(
            {"name": name, "sequence": marker.sequence, "time_ns": marker.time_ns, "kind": kind}
        )
    except ValueError:
        return None  # of a version that names them differently
