"""The boundary between Python exceptions and NBD errors.

Every callback ends here when something goes wrong. nbdkit reports SUCCESS
when an error number is set and nothing raised, so `refuse` always raises.
Only the six numbers below reach a client as themselves.
"""

from __future__ import annotations

import errno
import traceback
from typing import Any, Final, NoReturn

import nbdkit

from controller.errors import (
    CapacityError,
    ConflictError,
    IntegrityError,
    NotFoundError,
    PairvolError,
    PeerError,
    StorageError,
    UsageError,
)
from nbd_plugin.log import Log

NUMBERS: Final[dict[type[PairvolError], int]] = {
    UsageError: errno.EINVAL,
    NotFoundError: errno.EINVAL,
    ConflictError: errno.EPERM,
    CapacityError: errno.ENOSPC,
    IntegrityError: errno.EIO,
    StorageError: errno.EIO,
    PeerError: errno.EIO,
}
PASSED_ON: Final = frozenset({errno.EPERM, errno.EIO, errno.ENOMEM, errno.EINVAL, errno.ENOSPC, errno.ESHUTDOWN})


class Refused(Exception):  # noqa: N818 - what nbdkit prints, not an error of the project's hierarchy
    """Raised into nbdkit, which prints it for the operator; the client gets the number."""


def number_of(error: BaseException) -> int:
    """The NBD error for an exception."""
    if isinstance(error, PairvolError):
        return NUMBERS.get(type(error), errno.EIO)
    if isinstance(error, MemoryError):
        return errno.ENOMEM
    if isinstance(error, OSError) and error.errno in PASSED_ON:
        return error.errno
    return errno.EIO


def speak_shortly() -> None:
    """Let nbdkit print one line for a request that was refused, and the traceback of a mistake in the program only.

    It prints what `traceback.format_exception` makes of the exception, with the name of the callback before it.
    """
    kept, log = traceback.format_exception, Log()

    def format_exception(*arguments: Any, **named: Any) -> list[str]:
        error = arguments[1] if len(arguments) > 1 else None
        log.grows()
        if isinstance(error, Refused) and isinstance(error.__cause__, (PairvolError, OSError)):
            return [str(error)]
        return kept(*arguments, **named)

    setattr(traceback, "format_exception", format_exception)  # noqa: B010 - mypy forbids the plain assignment


def refuse(error: BaseException) -> NoReturn:
    """Answer the request with the number for `error`."""
    nbdkit.set_error(number_of(error))
    raise Refused(str(error)) from error
