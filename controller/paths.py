"""Where everything of a storage controller lies on disk.

Owns names and directories only; makes and removes nothing. Durable things are
in the state directory, sockets and pid files in the run directory.

    state_directory/
        state.json  lock  controller.json        (controller/state.py, controller/daemon.py)
        events.jsonl                              (controller/events.py)
        volumes/NAME.img  pool/NAME.img           stores that we made
        groups/NAME/journal  journal.next  pointers  dirty  run  copy.json  verify.json  markers.jsonl
        groups/NAME/export/  safepoint/  orphans/
        servers/ID.json                           what a volume server or a relay reads
        log/ID.log
        drills.jsonl  drills/                     the ledger of drills, and room for what is written to their images
    run_directory/
        controller.sock  ID.sock  ID.ctl  ID.pid

Server ids: `v-VOLUME` and `g-GROUP` serve volumes, `j-GROUP` the journal,
`p-GROUP` the primary volumes to the copying site, `z-GROUP` compresses what
these two answer, `d-NUMBER-INDEX` is an image of a drill.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from controller.addresses import check_socket_path


@dataclass(frozen=True, slots=True)
class Paths:
    state: Path
    run: Path

    @property
    def document(self) -> Path:
        return self.state / "state.json"

    @property
    def lock(self) -> Path:
        return self.state / "lock"

    @property
    def owner(self) -> Path:
        """Who holds the lock, for `stop_all`."""
        return self.state / "controller.json"

    @property
    def events(self) -> Path:
        return self.state / "events.jsonl"

    @property
    def ledger(self) -> Path:
        """Of all drills of this appliance."""
        return self.state / "drills.jsonl"

    @property
    def overlays(self) -> Path:
        """Where the images of drills keep what is written to them."""
        return self.state / "drills"

    @property
    def log(self) -> Path:
        return self.state / "log"

    def volume_image(self, name: str) -> Path:
        return self.state / "volumes" / f"{name}.img"

    def pool_image(self, name: str) -> Path:
        return self.state / "pool" / f"{name}.img"

    def group(self, name: str) -> Path:
        return self.state / "groups" / name

    def server_document(self, server: str) -> Path:
        return self.state / "servers" / f"{server}.json"

    def server_log(self, server: str) -> Path:
        return self.log / f"{server}.log"

    def socket(self, server: str) -> Path:
        return self.run / f"{server}.sock"

    def control(self, server: str) -> Path:
        return self.run / f"{server}.ctl"

    def pidfile(self, server: str) -> Path:
        return self.run / f"{server}.pid"

    def volume_uri(self, server: str, volume: str) -> str:
        """The NBD address of a volume on this machine."""
        return f"nbd+unix:///{quote(volume)}?socket={quote(str(self.socket(server)))}"

    def certificates(self, digest: str) -> Path:
        """Leads to the directory of certificates while it has that content."""
        return self.run / f"tls-{digest}"

    def check_server(self, server: str) -> None:
        """Refuse a name whose sockets the kernel would not take (UsageError)."""
        check_socket_path(self.socket(server))

    def make(self) -> None:
        """Make the directories that everything else expects."""
        for directory in ("volumes", "pool", "groups", "servers", "log", "drills"):
            (self.state / directory).mkdir(parents=True, exist_ok=True, mode=0o700)
        self.run.mkdir(parents=True, exist_ok=True, mode=0o700)


@dataclass(frozen=True, slots=True)
class GroupPaths:
    """Files of one journal group; the journal itself may lie elsewhere (a pool volume)."""

    directory: Path

    @property
    def journal(self) -> Path:
        return self.directory / "journal"

    @property
    def journal_next(self) -> Path:
        """A journal volume that is to take the other's place and name."""
        return self.directory / "journal.next"

    @property
    def pointers(self) -> Path:
        return self.directory / "pointers"

    @property
    def dirty_map(self) -> Path:
        return self.directory / "dirty"

    @property
    def copy_state(self) -> Path:
        return self.directory / "copy.json"

    @property
    def run(self) -> Path:
        """The record of the primary's in-band run."""
        return self.directory / "run"

    @property
    def verify_results(self) -> Path:
        """What a secondary found different from its primary."""
        return self.directory / "verify.json"

    @property
    def markers(self) -> Path:
        return self.directory / "markers.jsonl"

    @property
    def pair_record(self) -> Path:
        """What the host agents keep of the pair."""
        return self.directory / "pair.json"

    @property
    def orphans(self) -> Path:
        """Journals kept from earlier lives as primary."""
        return self.directory / "orphans"

    @property
    def safe_point(self) -> Path:
        return self.directory / "safepoint"

    @property
    def export(self) -> Path:
        """Directory whose entries the journal server exports."""
        return self.directory / "export"
