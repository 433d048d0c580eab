"""Keeps the Python thread state of nbdkit's connection threads.

nbdkit calls PyGILState_Ensure and Release around every callback. A thread of
nbdkit's has no other state, so CPython would make one and destroy it each
time, with two system calls and page faults for every request. One Ensure of
our own, held from open to close, keeps it alive and doubles the throughput.

With SERIALIZE_REQUESTS one thread makes all calls of a connection, open and
close included, so each Ensure meets its Release in the same thread.
"""

from __future__ import annotations

import ctypes

# PyDLL: the GIL is held through the call, as these two functions need it here.
_ensure = ctypes.pythonapi.PyGILState_Ensure
_release = ctypes.pythonapi.PyGILState_Release
_ensure.restype = ctypes.c_int
_release.argtypes = (ctypes.c_int,)


def keep_state() -> int:
    """Hold the calling thread's state until `release_state` gets what this returns."""
    return int(_ensure())


def release_state(token: int) -> None:
    """Let the state go when nbdkit's own hold on it ends."""
    _release(token)
