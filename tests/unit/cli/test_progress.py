"""Progress on standard error of a terminal; elsewhere nothing, and the data alone on standard output."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import threading

import pytest

from controller.errors import ConflictError
from hostagent.cli import progress
from hostagent.cli.progress import Look, watched
from hostagent.cli.session import Session

PROGRAM = """
import sys, threading
from hostagent.cli import progress
from hostagent.cli.session import Session

progress.QUIET_SECONDS, progress.LOOK_SECONDS = 0.0, 0.01
seen = threading.Event()
looks = []

def look():
    looks.append(None)
    if len(looks) > 20:
        seen.set()
    return progress.Look("restoring db", 1 << 20, 4 << 20)

def work():
    seen.wait()
    return "data"

print(progress.watched(Session(), work, look))
"""


def test_nothing_is_shown_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert watched(Session(), lambda: 7, lambda: Look("never asked")) == 7
    with pytest.raises(ConflictError):
        watched(Session(), refuse, lambda: None)
    assert capsys.readouterr() == ("", "")


def refuse() -> None:
    raise ConflictError("no")


def test_what_the_work_raises_is_raised_on_a_terminal_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert watched(Session(), lambda: 7, lambda: None) == 7
    with pytest.raises(ConflictError):
        watched(Session(), refuse, lambda: None)
    assert threading.active_count() >= 1
    assert progress.QUIET_SECONDS == 2.0


def test_on_a_terminal_words_size_and_rate_are_shown_on_standard_error() -> None:
    ours, theirs = pty.openpty()
    environment = os.environ | {"COLUMNS": "120", "TERM": "xterm"}
    child = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=theirs, env=environment, text=True
    )
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 4096):
            shown += piece
    except OSError:  # the other end is closed
        pass
    finally:
        os.close(ours)
    out, _ = child.communicate(timeout=20)
    assert (child.returncode, out) == (0, "data\n")
    assert b"restoring db" in shown
    assert b"1.0/4.0 MiB" in shown
