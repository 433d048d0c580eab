"""Marker journals: control information that travels in band, in order with the writes.

Owns what the payload looks like: a flat JSON object, padded with NUL to whole
blocks. `what` says which marker it is; readers pass over those they do not
know. What restore comes to has passed `is_marker` (controller/restore/verify.py).
"""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Any, Final

from controller.errors import UsageError
from controller.journal.sizes import MARKER_BYTES_MAX


class MarkerKind(StrEnum):
    """The markers that pairvol itself writes."""

    SUSPENDED = "suspended"  # after it, until "resumed", regions change without journals
    COPIED = "initial copy done"  # the other site had a consistent copy when this was put
    RESUMED = "resumed"  # before it, regions changed without journals: restore waits for their copy
    NAMED = "named"  # put by a person or a program, to be found again by its name
    RUN_BEGUN = "run begun"  # an in-band run begins
    RUN_AT = "run at"  # so much of it lies before this
    DIGEST = "digest"  # what a range of a volume holds here
    RUN_ENDED = "run ended"  # all of it lies before this


# Those that a list of markers shows, and the name of those that come by themselves.
LISTED: Final = {
    MarkerKind.SUSPENDED: "suspended",
    MarkerKind.RESUMED: "resumed",
    MarkerKind.COPIED: "initial-copy-done",
    MarkerKind.NAMED: None,
}


def pack_marker(what: str, **facts: Any) -> bytes:
    """UsageError for facts that are longer than any reader takes."""
    payload = json.dumps({"what": what, **facts}, sort_keys=True).encode()
    if len(payload) > MARKER_BYTES_MAX:
        raise UsageError(
            f"marker {what!r} of {len(payload)} bytes is longer than {MARKER_BYTES_MAX}", hint="Choose a shorter name."
        )
    return payload


def is_marker(payload: bytes) -> bool:
    """Whether it is a marker at all, of this version or another."""
    return _read(payload) is not None


def parse_marker(payload: bytes) -> dict[str, Any]:
    """The content of a marker; empty for a payload that is none."""
    return _read(payload) or {}


def _read(payload: bytes) -> dict[str, Any] | None:
    try:
        content = json.loads(payload.rstrip(b"\0"))
    except (ValueError, RecursionError):  # the second: nested deeper than Python goes
        return None
    if not isinstance(content, dict) or not isinstance(content.get("what"), str):
        return None
    return None if any(isinstance(value, dict | list) for value in content.values()) else content
