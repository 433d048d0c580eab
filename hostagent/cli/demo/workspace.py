"""The directory of a demonstration: what lies in it, who owns it, and how all of it goes away again.

Owns the record `demo.json`, written before the first process starts, so that
`pairvol demo --stop` can also end what a killed demonstration left. Nothing
outside the directory is touched, and only processes that carry its mark.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from controller.errors import ConflictError, IntegrityError, NotFoundError, PairvolError, UsageError
from hostagent.cli.demo import devices
from hostagent.cli.demo.processes import MARK, ended, marked_processes
from hostagent.cli.demo.sites import Site, TwoSites

PARENT: Final = Path("/var/tmp")  # survives a reboot of /tmp on tmpfs, and has room for journals
PREFIX: Final = "pairvol-demo-"
RECORD: Final = "demo.json"
END_SECONDS: Final = 5.0


@dataclass(frozen=True)
class Workspace:
    """`sites` is where the two sites live, `made` says whether the directory itself is ours to remove."""

    directory: Path
    sites: TwoSites
    made: bool

    @property
    def logs(self) -> Path:
        return self.directory / "logs"

    def mount_point(self, site: Site) -> Path:
        return self.directory / "mnt" / site.name

    @classmethod
    def create(cls, directory: Path | None) -> Workspace:
        """A new directory, or an empty one of the user's; the record is in it when this returns."""
        try:
            made = directory is None or not directory.exists()
            if directory is None:
                directory = Path(tempfile.mkdtemp(prefix=PREFIX, dir=PARENT))
            else:
                directory = directory.resolve()
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if (directory / RECORD).exists():
                raise ConflictError(
                    f"{directory} holds a demonstration already",
                    hint=f'End it with "pairvol demo --stop --dir {directory}", or choose another --dir.',
                )
            if any(directory.iterdir()):
                raise ConflictError(f"{directory} is not empty", hint="Give --dir an empty or a new directory.")
            workspace = cls(directory, TwoSites.create(directory), made)
            workspace.logs.mkdir()
            workspace.record(os.getpid())
        except OSError as error:
            words = (error.strerror or str(error)).lower()
            raise UsageError(
                f"cannot make a demonstration in {directory or PARENT}: {words}",
                hint="Give --dir a new directory in a place where one can be made.",
            ) from error
        return workspace

    @classmethod
    def open(cls, directory: Path) -> Workspace:
        """An existing demonstration, told by its record."""
        try:
            record = json.loads((directory / RECORD).read_text())
            primary, secondary = (
                Site(entry["name"], directory / entry["name"], entry["agent_port"]) for entry in record["sites"]
            )
            made = bool(record["made"])
        except (FileNotFoundError, NotADirectoryError):
            raise NotFoundError(f"no demonstration in {directory}", hint="Name its directory with --dir.") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise IntegrityError(
                f"cannot read {directory / RECORD}, the record of a demonstration: {error}",
                hint="Remove that directory by hand when nothing in it is of use.",
            ) from error
        return cls(directory, TwoSites(directory, primary, secondary), made)

    def record(self, owner: int | None) -> None:
        """Write the record; `owner` is the program that runs the demonstration, None once it is kept."""
        document = {
            "owner": None if owner is None else {"pid": owner, "started": psutil.Process(owner).create_time()},
            "made": self.made,
            "sites": [{"name": site.name, "agent_port": site.agent_port} for site in self.sites],
        }
        (self.directory / RECORD).write_text(json.dumps(document, indent=2) + "\n")

    def owned(self) -> bool:
        """Whether the program that runs this demonstration is still at work."""
        owner = json.loads((self.directory / RECORD).read_text())["owner"]
        if owner is None or owner["pid"] == os.getpid():
            return False
        try:
            return bool(psutil.Process(owner["pid"]).create_time() == owner["started"])
        except psutil.Error:
            return False

    def detach_all(self) -> None:
        """Unmount and detach in order while the agents still answer."""
        from hostagent.client import Agent

        for point in reversed(devices.mounts_below(self.directory / "mnt")):
            try:
                devices.unmount(Path(point))
            except PairvolError:  # busy, or its server is dead: `release` takes it
                continue
        for site in self.sites:
            try:
                with Agent(site.agent_url) as agent:
                    for attachment in agent.attachments():
                        agent.detach(attachment.volume)
            except PairvolError:  # that site is down
                continue

    def remove(self) -> None:
        """End and remove everything; works in any state, also half made. What the volumes hold is dropped."""
        end_processes(self.directory)
        self.detach_all()
        for site in self.sites:
            site.kill_site()
        devices.release(self.directory)
        for entry in (RECORD, "logs", "mnt", *(site.name for site in self.sites)):
            path = self.directory / entry
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        if self.made:
            shutil.rmtree(self.directory, ignore_errors=True)


def end_processes(directory: Path) -> None:
    """SIGKILL the writers: processes marked with the directory itself."""
    writers = marked_processes(str(directory))
    for writer in writers:
        try:
            writer.kill()
        except psutil.Error:
            continue
    ended(writers, END_SECONDS)


def writer_environment(directory: Path) -> dict[str, str]:
    """The mark by which `end_processes` knows a writer."""
    return os.environ | {MARK: str(directory)}


def left_over(directory: Path | None) -> list[Workspace]:
    """Demonstrations that `--stop` may end: the named one, or all of this user's that nobody runs any more."""
    if directory is not None:
        return [Workspace.open(directory.resolve())]
    found = []
    for record in sorted(PARENT.glob(f"{PREFIX}*/{RECORD}")):
        # Anybody may make such a directory there; only our own is to be trusted.
        status = record.parent.lstat()
        if status.st_uid != os.geteuid() or record.parent.is_symlink():
            continue
        workspace = Workspace.open(record.parent)
        if not workspace.owned():
            found.append(workspace)
    return found
