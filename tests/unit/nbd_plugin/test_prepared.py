"""What a prepared server waits for: a word, the end of its controller, or a signal."""

from __future__ import annotations

import signal
import subprocess
import sys

PROGRAM = """
from nbd_plugin import prepared
print("loaded", flush=True)
prepared.await_word()
print("goes on", repr(__import__("sys").stdin.read()), flush=True)
"""


def started() -> subprocess.Popen[str]:
    program = subprocess.Popen([sys.executable, "-c", PROGRAM], stdin=-1, stdout=-1, text=True)
    assert program.stdout is not None
    assert program.stdout.readline() == "loaded\n"
    return program


def test_a_word_lets_it_go_on_with_nothing_more_to_read() -> None:
    with started() as program:
        assert program.stdin is not None
        program.stdin.write("serve\n")
        program.stdin.flush()
        assert program.stdout is not None
        assert program.stdout.readline() == "goes on ''\n"
        assert program.wait(20) == 0


def test_without_its_controller_it_ends() -> None:
    with started() as program:
        assert program.communicate(timeout=20)[0] == ""
        assert program.returncode == 0


def test_it_ends_when_asked() -> None:
    with started() as program:
        program.terminate()
        assert program.wait(20) == -signal.SIGTERM
