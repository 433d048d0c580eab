"""Marker journals: control information that travels in band, in order with the writes.

Owns what the payload looks like: a JSON object, padded with NUL to whole
blocks. `what` says which marker it is; readers pass over those they do not
know.
"""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Any, Final

PAYLOAD_BYTES_MAX: Final = 64 << 10


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
    return json.dumps({"what": what, **facts}, sort_keys=True).encode()


def parse_marker(payload: bytes) -> dict[str, Any]:
    """The content of a marker; empty for a payload that is no marker of ours."""
    try:
        content = json.loads(payload.rstrip(b"\0"))
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
