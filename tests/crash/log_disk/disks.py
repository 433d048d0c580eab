"""Log-writes disks as files and as a mounted file system, for the length of a `with`."""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.crash.log_disk.log import Entry, read_log
from tests.support.nbdkit import start_nbdkit, unix_uri
from tests.support.processes import Processes
from tests.support.waiting import DeadlineError, wait_until

PLUGIN = Path(__file__).with_name("plugin.py")
_libc = ctypes.CDLL(None, use_errno=True)
OPTIONS = "errors=remount-ro"
FREE_SECONDS = 10


class LogDisks:
    """A running log-writes server. `images` (name -> file) are what the disks begin as."""

    def __init__(self, processes: Processes, directory: Path, images: Mapping[str, Path]) -> None:
        self.directory = directory
        self.names = list(images)
        self.bases = {name: image.read_bytes() for name, image in images.items()}
        self.socket = directory / "disks.sock"
        self._log = directory / "writes.log"
        self._faults = directory / "faults"
        self._processes = processes
        words = [f"disk={name}:{image}" for name, image in images.items()]
        start_nbdkit(
            processes, self.socket, ["python", PLUGIN, f"log={self._log}", f"faults={self._faults}", *words], "disks"
        )

    def log(self) -> list[Entry]:
        """Everything logged so far."""
        return read_log(self._log, self.names)

    @contextmanager
    def failing(self, name: str, what: str, number: int) -> Iterator[None]:
        """Within this, requests of one kind ("write", "flush", "read") to a disk fail with an errno."""
        self._faults.write_text(f"{name} {what} {number}\n")
        try:
            yield
        finally:
            self._faults.unlink()

    @contextmanager
    def file(self, name: str) -> Iterator[Path]:
        """A disk as a plain file of its size: it can be mapped, and a sync of it is a flush of the disk."""
        point = self.directory / f"{name}.d"
        point.mkdir()
        path = point / name
        process = self._processes.start(["nbdfuse", path, unix_uri(self.socket, name)], f"nbdfuse-{name}")
        try:
            wait_until(path.exists, 10, f"{path} to be served")
            yield path
        finally:
            unmount_fuse(point)
            process.wait(10)

    @contextmanager
    def files(self) -> Iterator[dict[str, Path]]:
        """All disks as files."""
        with ExitStack() as stack:
            yield {name: stack.enter_context(self.file(name)) for name in self.names}

    @contextmanager
    def mounted(self, name: str, point: Path | None = None, options: str = OPTIONS) -> Iterator[Path]:
        """A disk that holds an ext4, mounted through a loop device."""
        point = point or self.directory / f"{name}.mnt"
        point.mkdir(exist_ok=True)
        with self.file(name) as path, attached(path, direct_io=True) as device, mounted_ext4(device, point, options):
            yield point


def unmount_fuse(point: Path) -> None:
    """Unmount; when something still holds a file there, let go of it all the same and then say so.

    The kernel lets go of a loop device's file in its own time, after whoever detached it was answered.
    """

    def unmounted() -> bool:
        return not subprocess.run(["fusermount3", "-u", point], capture_output=True).returncode

    try:
        wait_until(unmounted, 10, interval=0.1)
    except DeadlineError:
        subprocess.run(["fusermount3", "-u", "-z", point], check=True)
        raise AssertionError(f"a file under {point} is still open or mapped") from None


@contextmanager
def attached(path: Path, *, direct_io: bool = False) -> Iterator[Path]:
    """A loop device on a file."""
    words = ["losetup", "-f", "--show", *(["--direct-io=on"] if direct_io else []), str(path)]
    device = subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()
    try:
        yield Path(device)
    finally:
        subprocess.run(["losetup", "-d", device], check=True)


@contextmanager
def mounted_ext4(device: Path, point: Path, options: str = OPTIONS) -> Iterator[Path]:
    """An ext4 on a block device, mounted; its own journal is replayed by this."""
    subprocess.run(["mount", "-t", "ext4", "-o", options, device, point], check=True, capture_output=True)
    try:
        yield point
    finally:
        if subprocess.run(["umount", point], capture_output=True).returncode:
            subprocess.run(["umount", "-l", point], check=True)  # the caller's failure, if any, is the one to hear of
            raise AssertionError(f"a file under {point} is still open or mapped")


def mount(device: Path, point: Path) -> None:
    """As `mounted_ext4` does, by the system call: for who mounts by the hundred."""
    words = [str(device).encode(), str(point).encode(), b"ext4", 0, OPTIONS.encode()]
    if _libc.mount(*words):
        raise OSError(ctypes.get_errno(), f"cannot mount {device}: {os.strerror(ctypes.get_errno())}")


def unmount(point: Path) -> None:
    if _libc.umount2(str(point).encode(), 0):
        number = ctypes.get_errno()
        subprocess.run(["umount", "-l", point], check=True)
        raise AssertionError(f"a file under {point} is still open or mapped: {os.strerror(number)}")


def wait_free(device: Path) -> None:
    """Until a device is mounted nowhere, in no other namespace either: one would see its old content for the new."""

    def free() -> bool:
        try:
            os.close(os.open(device, os.O_RDONLY | os.O_EXCL))
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            return False
        return True

    wait_until(free, FREE_SECONDS, f"{device} to be mounted nowhere", interval=0.001)


def make_ext4(path: Path, size_bytes: int) -> None:
    """A new file with an ext4 as users have it, all of it laid out at once so that no thread does it later."""
    with path.open("wb") as file:
        file.truncate(size_bytes)
    words = ["mkfs.ext4", "-q", "-F", "-b", "4096", "-E", "lazy_itable_init=0,lazy_journal_init=0"]
    subprocess.run([*words, str(path)], check=True, capture_output=True)
