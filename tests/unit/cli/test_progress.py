"""Progress on standard error of a terminal; elsewhere nothing, and the data alone on standard output."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import threading

import pytest

from controller.errors import ConflictError
from hostagent.cli import progress
from hostagent.cli.progress import Waiting, watched

PROGRAM = """
import sys, threading
from hostagent.cli import progress

progress.QUIET_SECONDS, progress.LOOK_SECONDS = {quiet}, 0.01
seen = threading.Event()
looks = []

class Looked:
    words = "restore of db"

    def __call__(self):
        looks.append(None)
        if len(looks) > 20:
            seen.set()
        return {answer}

def work():
    seen.wait()
    return "data"

print(progress.watched(work, Looked(), "it goes on"))
"""


def test_nothing_is_shown_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert watched(lambda: 7, Waiting("nothing"), None) == 7
    with pytest.raises(ConflictError):
        watched(refuse, Waiting("nothing"), None)
    assert capsys.readouterr() == ("", "")


def refuse() -> None:
    raise ConflictError("no")


def test_what_the_work_raises_is_raised_on_a_terminal_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert watched(lambda: 7, Waiting("nothing"), None) == 7
    with pytest.raises(ConflictError):
        watched(refuse, Waiting("nothing"), None)
    assert threading.active_count() >= 1
    assert progress.QUIET_SECONDS == 2.0


@pytest.mark.parametrize("left", ["db is restored all the same", None])
def test_ctrl_c_ends_the_display_and_says_what_goes_on(
    left: str | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    going, ended = threading.Event(), threading.Event()

    class Interrupted:
        words = "restore of db"

        def __call__(self) -> None:
            raise KeyboardInterrupt

    def work() -> None:
        going.wait()
        ended.set()

    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr(progress, "QUIET_SECONDS", 0.0)
    with pytest.raises(KeyboardInterrupt):
        watched(work, Interrupted(), left)
    assert not ended.is_set()
    going.set()
    assert ended.wait(10)
    assert ("db is restored all the same" in capsys.readouterr().err) is (left is not None)


def shown_of(answer: str, quiet_seconds: float = 0.0) -> str:
    """What a terminal shows while work goes on of which a look says `answer`; the data is all of standard output."""
    ours, theirs = pty.openpty()
    environment = os.environ | {"COLUMNS": "120", "TERM": "xterm"}
    program = PROGRAM.replace("{answer}", answer).replace("{quiet}", str(quiet_seconds))
    child = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=theirs, env=environment, text=True
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
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode())


def test_on_a_terminal_words_size_and_rate_are_shown_on_standard_error() -> None:
    shown = shown_of('progress.Look("restoring db", min(len(looks), 16) << 18, 4 << 20)')
    assert "restoring db" in shown
    assert re.search(r"[1-4]\.\d/4\.0 MiB +[\d.]+ [KMG]iB/s +\d:\d\d:\d\d left +\d:\d\d:\d\d", shown), shown


@pytest.mark.parametrize(
    ("answer", "words"),
    [("None", "restore of db"), ('progress.Look("restoring db")', "restoring db")],
)
def test_where_there_is_no_amount_what_is_waited_for_and_the_time_are_shown(answer: str, words: str) -> None:
    shown = shown_of(answer)
    assert re.search(rf"{words} +0:00:\d\d", shown), shown
    assert not re.search(r"\?|-:--", shown), shown


def test_the_time_is_that_since_the_work_began() -> None:
    shown = shown_of("None", quiet_seconds=1.0)
    assert "0:00:01" in shown
    assert "0:00:00" not in shown
