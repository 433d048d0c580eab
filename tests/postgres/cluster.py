"""A PostgreSQL cluster in given folders, run by the distribution's programs under an unprivileged user.

Only the programs of the package are used: no cluster of the distribution, no
service, no configuration outside the cluster's own folders.
"""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TypedDict

import psutil
import psycopg

from tests.support.waiting import wait_until

PROGRAMS = Path("/usr/lib/postgresql")
USERS = ("postgres", "nobody")
DATABASE = "postgres"
COMMAND_SECONDS = 120
START_SECONDS = 60
SETTINGS = {
    "listen_addresses": "",
    "max_connections": "30",
    "shared_buffers": "16MB",  # less than the tables: pages go to the volume between checkpoints too
    "jit": "off",
    "dynamic_shared_memory_type": "mmap",  # what a kill leaves is in the cluster's folder
    "min_wal_size": "4MB",
    "max_wal_size": "16MB",  # checkpoints all the time, so that log segments are used again soon
    "checkpoint_timeout": "30s",
    "restart_after_crash": "off",
    "log_min_messages": "warning",
}


def programs() -> Path | None:
    """The folder with the newest server's programs; None when there is none."""
    found = [path for path in PROGRAMS.glob("*/bin") if (path / "pgbench").exists() and (path / "postgres").exists()]
    return max(found, key=lambda path: int(path.parent.name), default=None)


def missing() -> str:
    """Why no cluster can run here; empty when one can."""
    return "" if programs() else "PostgreSQL is not installed: run make tools as root"


def user() -> pwd.struct_passwd:
    """Who runs the server: it refuses root."""
    for name in USERS:
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise AssertionError(f"none of the users {USERS} exists")


class AsUser(TypedDict):
    """How a process becomes another user's."""

    user: int
    group: int
    extra_groups: list[int]
    umask: int


class Cluster:
    """`data` and `log` are mount points; the cluster lies in a folder in each. `run` holds socket and log file."""

    def __init__(self, data: Path, log: Path, run: Path) -> None:
        found = programs()
        assert found is not None, missing()
        self.data, self.log, self.run = data / "cluster", log / "wal", run
        self.server_log = run / "postgres.log"
        self._programs, self._user = found, user()
        self._server: subprocess.Popen[bytes] | None = None
        run.mkdir(exist_ok=True)
        os.chown(run, self._user.pw_uid, self._user.pw_gid)

    def create(self) -> None:
        """initdb with checksums, and the smallest log segments there are."""
        for path in (self.data.parent, self.log.parent):
            os.chown(path, self._user.pw_uid, self._user.pw_gid)
        words = ["--no-sync", "-k", "-A", "trust", "-U", "postgres", "--locale=C", "-E", "UTF8", "--wal-segsize=1"]
        self.program("initdb", *words, "--waldir", self.log, self.data)
        settings = "".join(f"{name} = '{value}'\n" for name, value in SETTINGS.items())
        with (self.data / "postgresql.conf").open("a") as file:
            file.write(f"{settings}unix_socket_directories = '{self.run}'\n")

    def start(self) -> None:
        """Returns when it takes connections, recovery behind it."""
        with self.server_log.open("ab") as log:
            self._server = subprocess.Popen(
                [self._programs / "postgres", "-D", self.data],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd="/",
                **self._as_user(),
            )

        def answers() -> bool:
            assert self._server is not None
            assert self._server.poll() is None, f"PostgreSQL did not start: {self.last_words()}"
            with suppress(psycopg.OperationalError):
                self.connect().close()
                return True
            return False

        wait_until(answers, START_SECONDS, "PostgreSQL to take connections")

    def stop(self) -> None:
        """A fast shutdown with its checkpoint, as a service manager does it."""
        if self._server is not None:
            self._server.send_signal(signal.SIGINT)
            self._server.wait(COMMAND_SECONDS)
            self._server = None

    def kill(self) -> None:
        """SIGKILL to every process of it."""
        if self._server is None:
            return
        with suppress(psutil.Error):
            everyone = psutil.Process(self._server.pid).children(recursive=True)
            self._server.kill()
            for process in everyone:
                with suppress(psutil.Error):
                    process.kill()
            _, alive = psutil.wait_procs(everyone, COMMAND_SECONDS)
            assert not alive, f"processes of PostgreSQL outlived SIGKILL: {alive}"
        self._server.wait(COMMAND_SECONDS)
        self._server = None

    def connect(self, **options: object) -> psycopg.Connection[tuple[int, ...]]:
        return psycopg.connect(host=str(self.run), user="postgres", dbname=DATABASE, **options)  # type: ignore[arg-type]

    def run_sql(self, text: str) -> list[tuple[int, ...]]:
        """Rows of one statement, in a transaction of its own."""
        with self.connect(autocommit=True) as connection:
            cursor = connection.execute(text.encode())
            return cursor.fetchall() if cursor.description else []

    def check(self) -> None:
        """pg_amcheck of every table and index: any finding is an assertion."""
        self.program("pg_amcheck", *self.address(), "--heapallindexed", "--install-missing", "-d", DATABASE)

    def address(self) -> list[str]:
        return ["-h", str(self.run), "-U", "postgres"]

    def command(self, name: str, *words: str | Path) -> list[str]:
        return [str(self._programs / name), *map(str, words)]

    def program(self, name: str, *words: str | Path) -> str:
        """What one of the package's programs says; it must succeed."""
        answer = subprocess.run(
            self.command(name, *words),
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_SECONDS,
            cwd="/",
            **self._as_user(),
        )
        said = f"{answer.stdout}{answer.stderr}".strip()
        assert answer.returncode == 0, f"{name} ended with {answer.returncode}: {said[-1500:]}"
        return said

    def last_words(self) -> str:
        lines = self.server_log.read_text(errors="replace").splitlines()
        worst = [line for line in lines[-40:] if "PANIC" in line] or [line for line in lines[-40:] if "FATAL" in line]
        return (worst or lines or ["it said nothing"])[-1]

    def _as_user(self) -> AsUser:
        return {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": [], "umask": 0o077}
