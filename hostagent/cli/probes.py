"""What `pairvol check` looks at: configuration, programs, devices, rights, daemons and peers.

Each probe yields findings and changes nothing. A finding that is not OK says
how to mend it.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from controller.errors import NotFoundError, PairvolError
from hostagent.cli.output import clock
from hostagent.cli.session import Session, tls_directory

CONTROLLER_CONFIGURATION: Final = Path("/etc/pairvol/controller.toml")
AGENT_CONFIGURATION: Final = Path("/etc/pairvol/agent.toml")
PLUGIN_SECONDS: Final = 10.0  # for nbdkit to tell of one; a machine under load takes a while
PLUGINS: Final = {"python": "nbdkit-plugin-python", "file": "nbdkit", "nbd": "nbdkit"}


class Level(StrEnum):
    """How a finding is; the order is that of the exit codes."""

    OK = "OK"
    WARNING = "WARNING"
    FAILED = "FAILED"


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    subject: str
    level: Level
    detail: str
    mend: str = ""


def findings(session: Session) -> Iterator[Finding]:
    """All probes in the order in which trouble is best mended."""
    yield from programs()
    yield from devices()
    yield rights(session.address is not None)
    yield from configurations(session)
    yield from daemons(session)


def programs() -> Iterator[Finding]:
    """nbdkit with its plugins, libnbd's binding and what makes block devices."""
    nbdkit = shutil.which("nbdkit")
    yield _program("nbdkit", "nbdkit")
    for plugin, package in PLUGINS.items():
        yield _plugin(nbdkit, plugin, package)
    if importlib.util.find_spec("nbd") is not None:
        yield Finding("libnbd for Python", Level.OK, "installed")
    else:
        mend = "apt-get install python3-libnbd; the virtual environment needs --system-site-packages"
        yield Finding("libnbd for Python", Level.FAILED, "not there", mend)


def devices() -> Iterator[Finding]:
    """Block devices: kernel nbd, or nbdfuse and a loop device."""
    kernel = Path("/sys/module/nbd").exists() or Path("/dev/nbd0").exists()
    level = Level.OK if kernel else Level.WARNING
    parts = [
        _program("nbdfuse", "libnbd-bin", level_without=level),
        _program("fusermount3", "fuse3", level_without=level),
        _program("losetup", "mount", level_without=level),
        _node("/dev/fuse", "modprobe fuse", level),
        _node("/dev/loop-control", "modprobe loop", level),
    ]
    missing = [part for part in parts if part.level is not Level.OK]
    yield from parts
    if kernel:
        yield Finding("kernel nbd", Level.OK, "loaded")
    elif not missing:
        yield Finding("kernel nbd", Level.OK, "not there; nbdfuse and loop devices do its work")
    else:
        detail = "cannot be made: " + ", ".join(f"{part.subject} {part.detail}" for part in missing)
        mend = "; ".join(part.mend for part in missing)
        if any("/dev/" in part.subject for part in missing):
            mend += ", and give them to a container that this may be"
        yield Finding("block devices", Level.FAILED, detail, f"{mend}; or modprobe nbd and apt-get install nbd-client")


def rights(agent_named: bool = False) -> Finding:
    """An agent makes block devices as root; who asks one that was named need not be."""
    if os.geteuid() == 0:
        return Finding("rights", Level.OK, "root")
    if agent_named:
        return Finding("rights", Level.OK, "not root; those of the agent count")
    mend = "run as root, or name the agent that makes them: PAIRVOL_AGENT=127.0.0.1:7811"
    return Finding("rights", Level.WARNING, "not root: no block devices", mend)


def configurations(session: Session) -> Iterator[Finding]:
    """The files of both daemons, read by the readers that the daemons use."""
    from controller.config import load as load_controller
    from hostagent.config import load as load_agent

    files = (
        ("controller", CONTROLLER_CONFIGURATION, load_controller),
        ("agent", session.config or AGENT_CONFIGURATION, load_agent),
    )
    for daemon, path, load in files:
        # Whoever names an agent need not have one installed on this machine.
        if path.exists() or session.address is None or path == session.config:
            yield _configuration(daemon, path, load)
    yield from certificates([path for _, path, _ in files])


def certificates(paths: Iterable[Path]) -> Iterator[Finding]:
    """Those that configurations name; what cannot be read of these is told before."""
    from hostagent.cli import certificate_probes

    named: set[str] = set()
    for path in paths:
        with suppress(PairvolError):
            named.add(tls_directory(path) or "")
    for directory in sorted(named - {""}):
        yield from certificate_probes.certificates(Path(directory))


def daemons(session: Session) -> Iterator[Finding]:
    """The agent, and through it the controller and the peers."""
    try:
        agent = session.agent
        info = agent.info()
    except PairvolError as error:
        mend = 'start it, "pairvol agent run", or name it with --agent or PAIRVOL_AGENT'
        yield Finding("agent", Level.FAILED, error.message, mend if "[errno 13]" not in error.message else error.hint)
        return
    yield Finding("agent", Level.OK, f"{info.site}, version {info.version}, at {agent.address}")
    if info.controller_ok:
        yield Finding("controller", Level.OK, "answers its agent")
    else:
        detail = f": {info.controller_failure}" if info.controller_failure else ""
        mend = 'start it: "pairvol controller run", with the site of its agent'
        yield Finding("controller", Level.FAILED, f"does not serve its agent{detail}", mend)
    for peer in info.peers:
        subject = f"peer {peer.site}"
        if peer.ok:
            yield Finding(subject, Level.OK, f"heard {clock(peer.last_contact_ns)} at {peer.agent}")
            continue
        since = f"last heard {clock(peer.last_contact_ns)}" if peer.last_contact_ns else "never heard"
        detail = f"{since}{': ' + peer.failure if peer.failure else ''}"
        yield Finding(subject, Level.FAILED, detail, f"look at the agent and the link at {peer.agent}")


def _program(name: str, package: str, level_without: Level = Level.FAILED) -> Finding:
    path = shutil.which(name)
    if path:
        return Finding(name, Level.OK, path)
    return Finding(name, level_without, "not installed", f"apt-get install {package}")


def _node(path: str, mend: str, level_without: Level) -> Finding:
    if os.access(path, os.R_OK | os.W_OK):
        return Finding(path, Level.OK, "usable")
    if not Path(path).exists():
        return Finding(path, level_without, "not there", mend)
    if os.geteuid() != 0:
        return Finding(path, Level.OK, "there; for root only")
    return Finding(path, level_without, "not permitted, though root", "a container must be given it")


def _configuration(daemon: str, path: Path, load: Callable[[Path], object]) -> Finding:
    subject = f"{daemon} configuration"
    try:
        load(path)
    except NotFoundError as error:
        return Finding(subject, Level.WARNING, error.message, "write it, if this machine runs one")
    except PairvolError as error:
        return Finding(subject, Level.FAILED, error.message, error.hint)
    return Finding(subject, Level.OK, str(path))


def _plugin(nbdkit: str | None, plugin: str, package: str) -> Finding:
    """Whether nbdkit loads it; one that cannot be asked is not taken for one that is missing."""
    subject = f"nbdkit {plugin} plugin"
    missing = Finding(subject, Level.FAILED, "not there", f"apt-get install {package}")
    if nbdkit is None:
        return missing
    look = f'see why: "nbdkit --dump-plugin {plugin}"'
    try:
        done = subprocess.run(
            [nbdkit, "--dump-plugin", plugin], capture_output=True, check=False, timeout=PLUGIN_SECONDS
        )
    except subprocess.TimeoutExpired:
        return Finding(subject, Level.FAILED, f"nbdkit does not answer within {PLUGIN_SECONDS:g} s", look)
    except OSError as error:
        return Finding(subject, Level.FAILED, f"nbdkit cannot be run: {(error.strerror or str(error)).lower()}", look)
    return Finding(subject, Level.OK, "installed") if done.returncode == 0 else missing
