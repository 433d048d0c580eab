"""Markers as they are put and listed: shapes only."""

from __future__ import annotations

from controller.api.models import Count, Name, Shape
from controller.journal.markers import MarkerKind


class MarkerOrder(Shape):
    """Put a marker with this name behind every write that is acknowledged by now."""

    name: Name
    kind: MarkerKind = MarkerKind.NAMED
    once_after: Count | None = None  # not again when one of that kind is known after this journal


class NamedMarker(Shape):
    """A marker of that name: every journal up to `sequence` was written before it."""

    name: Name
    sequence: Count
    time_ns: Count  # of its journal: the primary's clock
    kind: MarkerKind = MarkerKind.NAMED  # the others come by themselves
