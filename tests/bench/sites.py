"""Two sites for measuring: pairs made, waited for, and watched through their pointer pages."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

from controller.api.models import VolumeCreate
from controller.errors import IntegrityError
from controller.journal.pointers import Pointer, Position, parse_page
from hostagent.api.models import PairCreate, PairPolicy, PairState, SiteVolumes
from hostagent.cli.demo.sites import Site, TwoSites
from hostagent.client import Agent
from tests.bench.peers import behind, filled_file, served_uri
from tests.support.waiting import wait_until

SAMPLE_SECONDS = 0.002


@dataclass(frozen=True)
class Bench:
    """Both sites at work, and a client of each agent."""

    directory: Path
    sites: TwoSites
    first: Agent
    second: Agent

    def pair(
        self,
        group: str,
        volumes: Sequence[str],
        volume_bytes: int,
        journal_bytes: int,
        policy: PairPolicy | None = None,
    ) -> None:
        """Make filled volumes and pair them; returns when the pair is protected and nothing is on its way."""
        for name in volumes:
            backing = filled_file(self.directory / f"{name}.img", volume_bytes)
            self.first.create_volume(VolumeCreate(name=name, size_bytes=volume_bytes, backing=str(backing)))
        names = list(volumes)
        self.first.create_pair(
            PairCreate(
                group=group,
                primary=SiteVolumes(site=self.sites.primary.name, volumes=names),
                secondary=SiteVolumes(site=self.sites.secondary.name, volumes=names),
                journal_bytes=journal_bytes,
                secondary_journal_bytes=journal_bytes,
                policy=policy or PairPolicy(),
            )
        )
        # What tells that the copy is done is a journal itself, and a pair that restores later leaves it where it is.
        self.quiet(group, restored=policy is None or policy.restore == "at_once")

    def quiet(self, group: str, restored: bool = True) -> None:
        def reached() -> bool:
            status = self.first.pair_status(group)
            return status.state == PairState.PAIR and not (restored and behind(status))

        wait_until(reached, 180, f"{group} to be protected, with nothing on its way", interval=0.1)

    def uri(self, volume: str) -> str:
        return served_uri(self.first, volume)

    def position(self, site: Site, group: str, pointer: Pointer) -> Position:
        """As it is in the page of that site now."""
        path = site.directory / "controller" / "groups" / group / "pointers"
        while True:
            try:
                return parse_page(path.read_bytes())[pointer]
            except IntegrityError:  # read while it was written
                continue

    def lags(self, groups: Sequence[str], until: float) -> list[float]:
        """How old the newest restored journal is, in ms, of each group in turn while hosts write without a pause.

        One every other millisecond, however many groups: looking takes time that they need.
        """
        found = []
        for group in cycle(groups):
            if time.monotonic() >= until:
                break
            newest = self.position(self.sites.secondary, group, Pointer.ALREADY_RESTORED).time_ns
            found.append((time.time_ns() - newest) / 1e6)
            time.sleep(SAMPLE_SECONDS)
        return found


@contextmanager
def bench_sites(place: Path, second_place: Path | None = None) -> Iterator[Bench]:
    """Two running sites in directories of their own, which go with them; `second_place`: on another device."""
    with ExitStack() as stack:
        directory = own_directory(stack, place)
        sites = TwoSites.create(
            directory, second_directory=None if second_place is None else own_directory(stack, second_place)
        )
        stack.callback(sites.stop)
        sites.start()
        first = stack.enter_context(Agent(sites.primary.agent_url))
        second = stack.enter_context(Agent(sites.secondary.agent_url))
        yield Bench(directory, sites, first, second)


def own_directory(stack: ExitStack, place: Path) -> Path:
    """A new directory in a place; it goes with all that is in it when the stack ends."""
    directory = Path(tempfile.mkdtemp(prefix="s", dir=place))
    stack.callback(shutil.rmtree, directory, ignore_errors=True)
    return directory


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of all does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
