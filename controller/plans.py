"""Which nbdkit servers the state asks for, what each is told, and how it is started.

Pure: from a state document to the documents of volume servers (server.json,
read by controller/volume/settings.py) and to command lines. Starts nothing.

* A volume in no group has a server of its own, `v-VOLUME`, without a journal.
* A primary group has one volume server. For a group of one volume that is
  the volume's own, so that a pair is made on a live server; else `g-GROUP`.
* `j-GROUP` exports the journal and the pointer page read-only over TCP (stock
  nbdkit, no Python in that path), `p-GROUP` the primary volumes, from the
  volume server.
* `z-GROUP` compresses what both of these answer, for a group that wants it
  (controller/relay/WIRE.md).
* Volumes of a secondary are served while it is split, those of a fenced
  primary by nobody.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import controller
from controller import process
from controller.addresses import Address
from controller.api.models import Compression, GroupVolume, OnFull, Role, SplitMode
from controller.config import Config
from controller.paths import GroupPaths, Paths
from controller.state import GroupRecord, Phase, StateDocument, VolumeRecord

PROJECT: Final = Path(controller.__file__).resolve().parent.parent
PLUGIN: Final = PROJECT / "nbd_plugin" / "plugin.py"

ServerDocument = dict[str, Any]
LOCAL_HOSTS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # where one is reached that listens everywhere


def own_server(volume: VolumeRecord) -> str:
    """Id of the server of a volume by itself."""
    return volume.server or f"v-{volume.name}"


def group_server(group: GroupRecord) -> str:
    """Id of the volume server of a group. It stays while volumes join and leave, and their clients with it."""
    if group.server is not None:
        return group.server
    return f"v-{group.volumes[0].name}" if len(group.volumes) == 1 else f"g-{group.name}"


def group_served(document: StateDocument, server: str) -> GroupRecord | None:
    """The group whose volumes that volume server has; None for that of a volume in no group."""
    return next((group for group in document.groups.values() if group_server(group) == server), None)


def new_group_server(document: StateDocument, volumes: list[GroupVolume], group: str) -> str:
    """Id of the volume server of a group that is made: that of its only volume, which serves on."""
    if len(volumes) > 1:
        return f"g-{group}"
    known = document.volumes.get(volumes[0].name)
    return own_server(known) if known is not None else new_own_server(document, volumes[0].name)


def new_own_server(document: StateDocument, volume: str) -> str:
    """Id of a server for a volume that gets one: another volume may have been left with the name of this one's."""
    taken = {group_server(group) for group in document.groups.values()}
    taken |= {own_server(known) for known in document.volumes.values() if known.name != volume}
    name, number = f"v-{volume}", 1
    while name in taken:
        number += 1
        name = f"v-{volume}+{number}"  # no volume can have that name
    return name


def journal_server(group: str) -> str:
    return f"j-{group}"


def source_server(group: str) -> str:
    """Id of the server from which the other site copies the primary volumes."""
    return f"p-{group}"


def relay_server(group: str) -> str:
    """Id of the relay that compresses what the other site reads."""
    return f"z-{group}"


def serves_volumes(group: GroupRecord) -> bool:
    """Whether the group's volumes are served by its volume server."""
    if group.phase is Phase.CREATING or group.role is Role.FENCED:
        return False
    return group.role is not Role.SECONDARY or group.split is not SplitMode.OFF


def writable(group: GroupRecord) -> bool:
    """Whether hosts may write to the volumes that are served."""
    return not group.quiesced and group.split is not SplitMode.READ


def compresses(group: GroupRecord, config: Config) -> bool:
    """Whether there is a relay before what the other site reads. It asks for no certificate: never beside [tls]."""
    return group.compression is not Compression.NONE and config.tls is None and exports_journal(group)


def exports_journal(group: GroupRecord) -> bool:
    """Whether the other site may read the group's journal here."""
    return group.role in (Role.PRIMARY, Role.FENCED) and group.phase is not Phase.CREATING


def server_of(document: StateDocument, volume: str) -> str | None:
    """Id of the server that serves a volume; None for a volume that is not served."""
    group = document.group_of(volume)
    if group is None:
        return own_server(document.volumes[volume]) if volume in document.volumes else None
    return group_server(group) if serves_volumes(group) else None


def own_document(volume: VolumeRecord, paths: Paths) -> ServerDocument:
    """What the server of a volume in no group is told."""
    return {
        "name": volume.name,
        "control": str(paths.control(own_server(volume))),
        "volumes": [_volume(0, volume, writable=True)],
        "journal": None,
        "tracking": None,
    }


def group_document(group: GroupRecord, document: StateDocument, config: Config, paths: Paths) -> ServerDocument:
    """What the volume server of a group is told."""
    may_write = writable(group)
    return {
        "name": group.name,
        "control": str(paths.control(group_server(group))),
        "volumes": [_volume(member.index, document.volume(member.name), may_write) for member in group.volumes],
        "journal": journal_settings(group, config, paths) if group.role is Role.PRIMARY else None,
        "tracking": tracking_settings(group, paths) if _tracked(group) else None,
    }


def tracking_settings(group: GroupRecord, paths: Paths) -> ServerDocument:
    """What a volume server is told that serves without a journal: where it marks what changes."""
    return {"group_uuid": group.uuid, "dirty_map": str(GroupPaths(paths.group(group.name)).dirty_map)}


def _tracked(group: GroupRecord) -> bool:
    return group.role is Role.TAKEN_OVER or group.split is SplitMode.WRITE


def journal_settings(group: GroupRecord, config: Config, paths: Paths) -> ServerDocument:
    """The journal part of a volume server's document, also carried by the command `start`."""
    files, settings = GroupPaths(paths.group(group.name)), config.journal
    throttle = group.on_full is OnFull.THROTTLE
    return {
        "path": group.journal_path,
        "pointers": str(files.pointers),
        "group_uuid": group.uuid,
        "generation": group.generation,
        "acquire": group.acquisition,
        "full_wait_seconds": settings.throttle_wait_seconds if throttle else settings.full_wait_seconds,
        "throttle": throttle,
        "dirty_map": str(files.dirty_map),
        "on_error": config.journal.on_error,
    }


def documents(document: StateDocument, config: Config, paths: Paths) -> Iterator[tuple[str, ServerDocument]]:
    """Every volume server of a settled state: (id, document). Groups in mid-command are left to their command."""
    for volume in document.volumes.values():
        if document.group_of(volume.name) is None and volume.phase is Phase.READY:
            yield own_server(volume), own_document(volume, paths)
    for group in document.groups.values():
        if serves_volumes(group) and group.phase is Phase.READY:
            yield group_server(group), group_document(group, document, config, paths)


# nbdkit before 1.34 dies, with every other client's connection, of a client that hangs up while requests are in flight;
# one request of a connection at a time survives it.
SURVIVES_HANG_UPS: Final = ("--filter=noparallel",)
ONE_REQUEST_AT_A_TIME: Final = "serialize=requests"


def volume_command(server: str, config: Config, paths: Paths) -> list[str]:
    return [
        *_base(server, config, paths),
        "-t",
        str(config.servers.threads),
        "-U",
        str(paths.socket(server)),
        "python",
        str(PLUGIN),
        f"config={paths.server_document(server)}",
    ]


def journal_command(group: GroupRecord, config: Config, paths: Paths) -> list[str]:
    export = GroupPaths(paths.group(group.name)).export
    port = ["-r", "-i", config.data_address, "-p", str(group.journal_port), *tls_options(config, paths)]
    return [
        *_base(journal_server(group.name), config, paths),
        *port,
        *SURVIVES_HANG_UPS,
        "file",
        f"dir={export}",
        ONE_REQUEST_AT_A_TIME,
    ]


def source_command(group: GroupRecord, config: Config, paths: Paths) -> list[str]:
    socket = paths.socket(group_server(group))
    port = ["-r", "-i", config.data_address, "-p", str(group.volume_port), *tls_options(config, paths)]
    server = source_server(group.name)
    return [
        *_base(server, config, paths),
        *port,
        *SURVIVES_HANG_UPS,
        "nbd",
        "dynamic-export=true",
        f"socket={socket}",
        ONE_REQUEST_AT_A_TIME,
    ]


def tls_options(config: Config, paths: Paths) -> list[str]:
    """How what the network reaches insists on certificates.

    The name of the directory changes with its content, so that the next
    controller starts anew what was started with other certificates.
    """
    if config.certificates is None:
        return []
    certificates = paths.certificates(config.certificates.digest())
    return ["--tls=require", f"--tls-certificates={certificates}", "--tls-verify-peer"]


def relay_command(group: GroupRecord, config: Config, paths: Paths) -> list[str]:
    server = relay_server(group.name)
    return [
        *(sys.executable, "-m", process.RELAY_MODULE, process.PIDFILE_OPTION, str(paths.pidfile(server))),
        *("--listen", str(Address(host=config.data_address, port=group.relay_port or 0))),
        *("--targets", str(paths.server_document(server))),
    ]


def relay_targets(group: GroupRecord, config: Config) -> ServerDocument:
    """Where the relay of a group reads; the names are those of controller/relay/frames.py."""
    host = LOCAL_HOSTS.get(config.data_address, config.data_address)
    return {"journal": [host, group.journal_port], "volumes": [host, group.volume_port]}


def plugin_environment() -> dict[str, str]:
    """nbdkit embeds the distribution's interpreter: tell it where our packages and their needs are."""
    places = [str(PROJECT), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    return {"PYTHONPATH": os.pathsep.join(dict.fromkeys(places))}


def _base(server: str, config: Config, paths: Paths) -> list[str]:
    return [config.servers.nbdkit, "-f", "--pidfile", str(paths.pidfile(server))]


def _volume(index: int, volume: VolumeRecord, writable: bool) -> ServerDocument:
    return {
        "index": index,
        "name": volume.name,
        "path": volume.backing,
        "size_bytes": volume.size_bytes,
        "writable": writable,
    }
