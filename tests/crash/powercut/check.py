"""Is a state that a cut left what was promised? Opens it with the product's own recovery and compares."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from controller.errors import PairvolError
from controller.journal.pointers import Position
from controller.volume.opening import open_journaled
from controller.volume.stores import open_volumes
from tests.crash.log_disk.rebuild import Images
from tests.crash.powercut.history import History
from tests.crash.powercut.recording import VOLUME_BYTES, files_in
from tests.crash.results import Row
from tests.crash.server import SiteFiles


@dataclass
class Workbench:
    """A folder in memory where states are laid out and opened."""

    directory: Path
    volumes: int = 2

    def lay_out(self, images: Images) -> SiteFiles:
        for name, image in images.items():
            (self.directory / name).write_bytes(image)
        return files_in(self.directory, self.volumes, VOLUME_BYTES)


def recovered(files: SiteFiles) -> tuple[Position, list[bytes]]:
    """Open the group as its server does at start; the tail and the volumes. Then close as a kill would."""
    settings = files.settings()
    assert settings.journal is not None
    volumes = open_volumes(settings.volumes)
    try:
        path = open_journaled(settings.journal, volumes, replay=True)
        tail = path.appender.tail
        path.close()
    finally:
        for volume in volumes:
            volume.backing.close()
    return tail, [volume.read_bytes() for volume in files.volumes]


def check_state(row: Row, label: str, files: SiteFiles, history: History, before_ns: int) -> None:
    """Recover a state that a cut at `before_ns` left, and hold it against the history."""
    row.attempted += 1
    try:
        tail, volumes = recovered(files)
    except PairvolError as error:
        row.lose(f"{label}: {error.message}")
        tail, volumes = None, []
    row.reached += history.issued(before_ns) > 0
    if tail is not None:
        judge(row, label, tail.sequence, volumes, history, before_ns)


def judge(row: Row, label: str, sequence: int, volumes: list[bytes], history: History, before_ns: int) -> None:
    """The volumes must be the history's first `sequence` operations, and those all that was promised."""
    promised, issued = history.promised(before_ns), history.issued(before_ns)
    if not promised <= sequence:
        row.lose(f"{label}: {promised} operations were promised, {sequence} are there")
    if sequence > issued:
        row.disorder(f"{label}: {sequence} operations are there, {issued} were issued")
    elif [*map(bytes, history.images(sequence))] != volumes:
        row.disorder(f"{label}: the volumes are not what operation {sequence} left")
