"""One server process: started in its own session, found again, signalled safely.

Owns identity. A server is known by the pid file named in its command line;
a pid is trusted only while a pidfd holds it and /proc shows that command, so
a reused pid is never signalled. Knows nothing of what the server serves.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from controller import launch
from controller.errors import StorageError, UsageError

RENAMED_POLL_SECONDS: Final = 0.0002
PIDFILE_OPTION: Final = "--pidfile"
RELAY_MODULE: Final = "controller.relay"
_ZOMBIE_STATES: Final = frozenset("ZX")


class ServerProcess:
    """A live process of ours. `close` forgets it without ending it."""

    def __init__(self, pid: int, descriptor: int) -> None:
        self.pid = pid
        self.descriptor = descriptor  # pidfd; readable when the process has ended
        self.start_ticks = _start_ticks(pid)

    def alive(self) -> bool:
        return not select.select([self.descriptor], [], [], 0)[0]

    def wait(self, seconds: float) -> bool:
        """Wait for its end; whether it ended."""
        poll = select.poll()
        poll.register(self.descriptor, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def send(self, number: signal.Signals) -> None:
        """Signal it; one that has ended is no error."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.descriptor, number)

    def reap(self) -> None:
        """Let the kernel forget it, in case that we are who takes in orphans here."""
        with suppress(ChildProcessError):
            os.waitid(os.P_PIDFD, self.descriptor, os.WEXITED | os.WNOHANG)

    def close(self) -> None:
        os.close(self.descriptor)


def spawn(
    command: list[str], environment: Mapping[str, str], log: Path, input_file: int | None = None
) -> ServerProcess:
    """Start a command in a session of its own with its output appended to `log`, and its input from that file, if any.

    It is nobody's child (controller/launch.py says why), so it survives us.
    UsageError when the program is missing.
    """
    if shutil.which(command[0], path=environment.get("PATH")) is None:
        raise UsageError(f"program {command[0]} is not installed", hint='Install it (Debian package "nbdkit").')
    read, write = os.pipe2(os.O_CLOEXEC)
    actions = [
        (os.POSIX_SPAWN_DUP2, write, launch.REPORT),
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
        if input_file is None
        else (os.POSIX_SPAWN_DUP2, input_file, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    launcher = [sys.executable, "-I", "-S", launch.__file__, *command]
    try:
        try:
            pid = os.posix_spawn(
                sys.executable,
                launcher,
                environment,
                file_actions=actions,
                setsid=True,
                setsigmask=[],
                setsigdef=[signal.SIGPIPE, signal.SIGINT, signal.SIGHUP],
            )
        finally:
            os.close(write)
        os.waitpid(pid, 0)
        with open(read, "rb", closefd=False) as report:
            server = int(report.read())  # to its end, when the launcher becomes the program
        running = ServerProcess(server, os.pidfd_open(server))
        while running.alive() and command_line(server)[:1] != command[:1]:
            time.sleep(RENAMED_POLL_SECONDS)  # its command line, by which it is found, follows in a moment
        return running
    except (OSError, ValueError) as error:
        raise StorageError(f"cannot start {command[0]}: {error}", hint=f"See {log}.") from error
    finally:
        os.close(read)


def adopt(pidfile: Path) -> ServerProcess | None:
    """The live process whose command line names `pidfile`, whether or not that file is there yet."""
    with suppress(OSError, ValueError):
        process = _hold(int(pidfile.read_text()), pidfile)
        if process is not None:
            return process
    for pid, found in servers_under(pidfile.parent):
        if found == pidfile and (process := _hold(pid, pidfile)) is not None:
            return process
    return None


def servers_under(run_directory: Path) -> Iterator[tuple[int, Path]]:
    """(pid, pid file) of every live process whose pid file lies in a run directory."""
    for entry in os.listdir("/proc"):
        if not entry.isdecimal():
            continue
        pidfile = _pidfile_of(int(entry))
        if pidfile is not None and pidfile.parent == run_directory:
            yield int(entry), pidfile


def _hold(pid: int, pidfile: Path) -> ServerProcess | None:
    """Hold a pid, then check that it is the one meant."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return None
    if _pidfile_of(pid) != pidfile:
        os.close(descriptor)
        return None
    try:
        return ServerProcess(pid, descriptor)
    except OSError:  # it ended meanwhile
        os.close(descriptor)
        return None


def command_line(pid: int) -> list[str]:
    """Arguments of a live process; empty when it is gone or a zombie."""
    with suppress(OSError):
        if _stat_fields(pid)[0] not in _ZOMBIE_STATES:
            return Path(f"/proc/{pid}/cmdline").read_text(errors="surrogateescape").split("\0")[:-1]
    return []


def _pidfile_of(pid: int) -> Path | None:
    arguments = command_line(pid)
    if PIDFILE_OPTION not in arguments[:-1]:
        return None
    if "nbdkit" in Path(arguments[0]).name or arguments[1:3] == ["-m", RELAY_MODULE]:
        return Path(arguments[arguments.index(PIDFILE_OPTION) + 1])
    return None


def _start_ticks(pid: int) -> int:
    return int(_stat_fields(pid)[19])


def _stat_fields(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state on (the name before may hold anything)."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
