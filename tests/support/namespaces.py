"""A mount namespace of its own for a process that runs tests.

A mount namespace is made with a copy of every mount that there is, and holds
on to the file systems: while anybody's lives, what is unmounted elsewhere
stays alive, and mounted again it shows its old content. So whoever mounts file
systems in tests does it where nobody else's namespace can copy them, and lets
go of what others have mounted on devices of files. What a process left mounted
also ends with it.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_CLONE_NEWNS: Final = 0x00020000
_MS_REC: Final = 0x4000
_MS_PRIVATE: Final = 1 << 18
_MNT_DETACH: Final = 2
_OF_FILES: Final = re.compile(r"fuse\S* \S+|\S+ /dev/(loop|nbd)\d+\S*")  # type and source: made while tests run
_libc: Final = ctypes.CDLL(None, use_errno=True)


def own_mounts() -> bool:
    """Give this thread, and what it starts from now on, mounts of its own; False where that is not allowed."""
    if _libc.unshare(_CLONE_NEWNS):
        return False
    if _libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None):
        return False
    for point in _foreign(Path("/proc/thread-self/mountinfo").read_text()):
        _libc.umount2(os.fsencode(point), _MNT_DETACH)
    return True


def _foreign(mounts: str) -> Iterator[Path]:
    """Mount points, the inner ones first, of file systems on devices of files on which nothing of ours lies."""
    ours = [
        Path(each).resolve() for each in (__file__, sys.prefix, sys.base_prefix, tempfile.gettempdir(), os.getcwd())
    ]
    for line in reversed(mounts.splitlines()):
        before, _, after = line.partition(" - ")
        point = Path(re.sub(r"\\(\d{3})", lambda octal: chr(int(octal[1], 8)), before.split()[4]))
        if _OF_FILES.match(after) and not any(path.is_relative_to(point) for path in ours):
            yield point
