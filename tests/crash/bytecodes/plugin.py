"""nbdkit script: the volume server, every bytecode of its write path counted, and one of them its last.

PAIRVOL_KILL=FILE:FUNCTION:OFFSET#N kills this process just before it runs that
bytecode for the N-th time; PAIRVOL_SURVEY=PATH writes at the end how often
each was run. PAIRVOL_APPEND=plain takes the append step in Python, whose every
bytecode can be met. PAIRVOL_MUTANT applies a mutant. Counted is from the first
request that changes something, in every thread but the control socket's.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import controller
from controller.volume import append

if "PAIRVOL_MUTANT" in os.environ:
    import tests.crash.write_path.mutant_plugin  # noqa: F401 - applies it

from nbd_plugin import plugin as product
from nbd_plugin.plugin import *  # noqa: F403

if os.environ.get("PAIRVOL_APPEND") == "plain":
    setattr(append, "_Append", None)  # noqa: B010 - mypy forbids the plain assignment

PROJECT = Path(controller.__file__).parent.parent
PACKAGES = (f"{PROJECT}/controller/", f"{PROJECT}/nbd_plugin/")
LEFT_OUT = ("control.py", "threads.py", "ending.py")

_survey_path = os.environ.get("PAIRVOL_SURVEY", "")
_place, _, _when = os.environ.get("PAIRVOL_KILL", "").rpartition("#")
_function, _, _offset = _place.rpartition(":")
_countdown = int(_when or 0)
_counts: Counter[str] = Counter()
_names: dict[CodeType, str] = {}
_armed = False

Tracer = Callable[[FrameType, str, Any], Any]


def _name(code: CodeType) -> str:
    """FILE:FUNCTION of code of the write path; empty for any other."""
    name = _names.get(code)
    if name is None:
        counted = code.co_filename.startswith(PACKAGES) and not code.co_filename.endswith(LEFT_OUT)
        name = _names[code] = f"{Path(code.co_filename).name}:{code.co_qualname}" if counted else ""
    return name


def _survey(frame: FrameType, event: str, argument: Any) -> Any:
    if event == "opcode" and _armed:
        _counts[f"{_name(frame.f_code)}:{frame.f_lasti}"] += 1
    return _survey


def _kill(frame: FrameType, event: str, argument: Any) -> Any:
    global _countdown
    if event == "opcode" and _armed and frame.f_lasti == int(_offset):
        _countdown -= 1
        if _countdown == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    return _kill


def _trace(frame: FrameType, event: str, argument: Any) -> Any:
    name = _name(frame.f_code)
    if not name or (_function and name != _function):
        return None
    frame.f_trace_lines = False
    frame.f_trace_opcodes = True
    return _kill if _function else _survey


def _counted(callback: Callable[..., None]) -> Callable[..., None]:
    def traced(*arguments: Any) -> None:
        global _armed
        _armed = True
        sys.settrace(_trace)
        try:
            callback(*arguments)
        finally:
            sys.settrace(None)

    return traced


def cleanup() -> None:  # type: ignore[no-redef]
    global _armed
    _armed = False
    product.cleanup()
    if _survey_path:
        Path(_survey_path).write_text(json.dumps(_counts))


if _survey_path or _function:
    threading.settrace(_trace)  # of the threads that the product starts
    pwrite, zero = _counted(product.pwrite), _counted(product.zero)
    trim, flush = _counted(product.trim), _counted(product.flush)
