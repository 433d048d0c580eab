"""A mount namespace of its own for a process that runs tests.

A mount namespace is made with a copy of every mount that there is, and holds
on to the file systems: while anybody's lives, what is unmounted elsewhere
stays alive, and mounted again it shows its old content. So whoever mounts file
systems in tests does it where nobody else's namespace can copy them. What a
process left mounted also ends with it.
"""

from __future__ import annotations

import ctypes
from typing import Final

_CLONE_NEWNS: Final = 0x00020000
_MS_REC: Final = 0x4000
_MS_PRIVATE: Final = 1 << 18
_libc: Final = ctypes.CDLL(None, use_errno=True)


def own_mounts() -> bool:
    """Give this thread, and what it starts from now on, mounts of its own; False where that is not allowed."""
    if _libc.unshare(_CLONE_NEWNS):
        return False
    return not _libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None)
