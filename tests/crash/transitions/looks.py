"""What is seen of a pair at each site behind its commands: groups, files, contents; and what is put there likewise.

Volumes are named, so that it serves those that joined too; the pair's first
one is sites.py's.
"""

from __future__ import annotations

from pathlib import Path

from controller.api.client import ControllerClient
from controller.api.models import Group, JournalState
from hostagent.api.verify import VerifyReport
from hostagent.cli.demo.sites import Site
from tests.crash.transitions.sites import AGAIN_SECONDS, BLOCK, VOLUME_BYTES, Pair
from tests.support.nbdkit import connected
from tests.support.waiting import wait_until


def group(site: Site, name: str) -> Group:
    with ControllerClient(site.controller_address) as client:
        return client.group(name)


def state(site: Site, name: str) -> JournalState:
    with ControllerClient(site.controller_address) as client:
        return client.state(name)


def folder(site: Site, name: str) -> Path:
    return site.directory / "controller" / "groups" / name


def holds(pair: Pair, primary: list[str], secondary: list[str]) -> None:
    """Groups and agents of both sites have these volumes, and no others."""
    for site, names in ((pair.primary, primary), (pair.secondary, secondary)):
        kept = pair.agent(site).pairs()[0]
        said = [volume.name for volume in group(site, pair.name).volumes], kept.primary.volumes, kept.secondary.volumes
        assert said == (names, primary, secondary), f"group and agent of {site.name} have {said}"


def content(pair: Pair, site: Site, name: str) -> bytes:
    return Path(pair.agent(site).volume(name).backing).read_bytes()


def equal(pair: Pair, name: str, partner: str) -> None:
    same = content(pair, pair.primary, name) == content(pair, pair.secondary, partner)
    assert same, f"{name} and {partner} differ"


def write(pair: Pair, name: str, words: bytes, offset: int = 0) -> None:
    uri = pair.agent(pair.primary).volume(name).uri
    assert uri is not None
    with connected(uri) as handle:
        handle.pwrite(words.ljust(BLOCK, b"."), offset)
        handle.flush()


def damage(pair: Pair) -> None:
    """A block of the SVOL becomes another one, behind everybody's back."""
    with Path(pair.agent(pair.secondary).volume(pair.name).backing).open("r+b") as file:
        file.seek(VOLUME_BYTES // 2)
        file.write(b"damaged".ljust(BLOCK, b"!"))


def identical(pair: Pair) -> VerifyReport:
    """The verify under way comes to its end, and says that both sides hold the same."""
    found: list[VerifyReport] = []

    def ended() -> bool:
        found.append(pair.agent(pair.primary).verify_report(pair.name))
        return found[-1].phase not in ("running", "unknown")

    wait_until(ended, AGAIN_SECONDS, f"the verify of {pair.name} to end", interval=0.1)
    assert (found[-1].phase, found[-1].verdict) == ("done", "OK"), found[-1].line
    return found[-1]
