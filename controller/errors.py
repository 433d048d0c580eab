"""The one hierarchy of errors; each class carries its exit code and whether a retry can help.

The three boundaries map from here: errno in the volume server
(`nbd_plugin/boundary.py`), HTTP problem in the daemons (`controller/api/problems.py`),
exit code in the command line. A message is lowercase, names what was being
done and to what, and has no full stop; the hint is a sentence that says what
to do next.
"""

from __future__ import annotations

from typing import Any, ClassVar


class PairvolError(Exception):
    """Base of every error that a person is meant to read.

    `facts` are JSON-ready evidence (group, volume, sequence, path, ...).
    """

    exit_code: ClassVar[int] = 2
    http_status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str = "", **facts: Any) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.facts = facts


class UsageError(PairvolError):
    """Arguments or configuration that cannot be taken as they are."""

    exit_code = 2
    http_status = 422


class NotFoundError(PairvolError):
    """The named thing does not exist."""

    exit_code = 10
    http_status = 404


class MissingFileError(NotFoundError):
    """A file of something that exists is gone: never to be taken for word that the thing itself does not exist."""


class ConflictError(PairvolError):
    """The state does not allow it: busy, diverged, already there."""

    exit_code = 20
    http_status = 409


class CapacityError(PairvolError):
    """No room: a journal, a volume, a pool or a disk is too small or full."""

    exit_code = 30
    http_status = 507


class IntegrityError(PairvolError):
    """Stored or received bytes are not what they claim to be. Nothing is skipped."""

    exit_code = 40
    http_status = 500


class StorageError(PairvolError):
    """A disk refused: EIO, ENOSPC at a sync. Once failed it stays failed."""

    exit_code = 40
    http_status = 500


class DiskFullError(StorageError):
    """A document cannot be written for want of space on its disk: nothing is changed, and a retry can help."""

    exit_code = 30
    http_status = 507


class NotDurableError(StorageError):
    """It is done, and the disk did not say that it is for good: which state a power cut leaves is not known."""


class PeerError(PairvolError):
    """The other side is unreachable, timed out, or broke off."""

    exit_code = 50
    http_status = 502
    retryable = True


class WrongSiteError(PeerError):
    """Another site answers at that address; it has done nothing."""


BY_NAME: dict[str, type[PairvolError]] = {
    kind.__name__: kind
    for kind in (
        UsageError,
        NotFoundError,
        MissingFileError,
        ConflictError,
        CapacityError,
        IntegrityError,
        StorageError,
        DiskFullError,
        NotDurableError,
        PeerError,
        WrongSiteError,
    )
}
