"""The table of hostagent/commands/COMMANDS.md, read from the document, and the commands that its rows name.

Knows what a cell means to somebody who types the command; not how a pair gets
into a state.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hostagent.api.models import PairResync, PairSplit, SiteVolumes
from hostagent.api.volumes import JournalSize
from hostagent.client import Agent
from tests.integration.hostagent.conftest import JOURNAL_BYTES, VOLUME_BYTES, Case

DOCUMENT: Final = Path(__file__).parents[3] / "hostagent" / "commands" / "COMMANDS.md"
_markers = itertools.count(1)

Command = Callable[[Case, Agent], Any]


def other_pair(case: Case, agent: Agent) -> object:
    volumes = SiteVolumes(site="tokyo", volumes=["another", "another-b"])
    return agent.create_pair(case.order(primary=volumes.model_dump()))


def _grow(case: Case, agent: Agent) -> object:
    return agent.resize_journal(case.name, JournalSize(size_bytes=2 * JOURNAL_BYTES))


ROWS: Final[dict[str, dict[str, Command]]] = {
    "pair create, the same": {"create": lambda case, agent: agent.create_pair(case.made)},
    "pair create, others": {"create others": other_pair},
    "pair split [--rw]": {
        "split": lambda case, agent: agent.split_pair(case.name),
        "split --rw": lambda case, agent: agent.split_pair(case.name, PairSplit(writable=True)),
    },
    "pair resync": {"resync": lambda case, agent: agent.resync_pair(case.name)},
    "pair resync --swap": {"swap": lambda case, agent: agent.resync_pair(case.name, PairResync(swap=True))},
    "pair takeover": {"takeover": lambda case, agent: agent.take_over(case.name)},
    "pair takeover --to the primary": {
        "takeover --to": lambda case, agent: agent.take_over(case.name, to=case.primary),
    },
    "pair delete": {"delete": lambda case, agent: agent.delete_pair(case.name)},
    "pair verify": {"verify": lambda case, agent: agent.verify_pair(case.name)},
    "pair add, remove; volume resize": {
        "add": lambda case, agent: agent.add_volumes(case.name, [f"{case.name}-c"], [f"{case.name}-c"]),
        "remove": lambda case, agent: agent.remove_volumes(case.name, [f"{case.name}-b"]),
        "volume resize": lambda case, agent: agent.resize_volume(case.name, 2 * VOLUME_BYTES),
    },
    "journal start": {"journal start": lambda case, agent: agent.start_journal(case.name)},
    "journal stop, copy, restore, purge": {
        "journal stop": lambda case, agent: agent.stop_journal(case.name),
        "journal copy": lambda case, agent: agent.copy_journal(case.name),
        "journal restore": lambda case, agent: agent.restore_journal(case.name),
        "journal purge": lambda case, agent: agent.purge_journal(case.name),
    },
    "journal resize": {"journal resize": _grow},
    "marker put": {"marker put": lambda case, agent: agent.put_marker(case.name, f"point{next(_markers)}")},
    "drill start": {"drill start": lambda case, agent: agent.start_drill(case.name)},
    "drill stop": {"drill stop": lambda case, agent: agent.stop_drill(case.name)},
}

WORDS: Final = {
    "wait": "pairvol pair wait {group} --state PAIR",
    "another name": "Choose another group name",
    "delete": "pairvol pair delete {group}",
    "journal start": "pairvol journal start {group}",
    "resync --swap": "pairvol pair resync {group} --swap",
    "resync": "pairvol pair resync {group}",
    "takeover": "pairvol pair takeover {group}",
    "--force": "--force",
}


FORCED: Final = ("what it drops needs --force",)


@dataclass(frozen=True, slots=True)
class Cell:
    """What a command does in a state."""

    done: bool
    drops: bool = False  # what is only there is dropped with --force alone
    hints: tuple[str, ...] = ()  # of the refusal: all of these

    @classmethod
    def parse(cls, text: str) -> Cell:
        if text.startswith("done"):
            words, _, more = text.partition("; ")
            if words not in ("done", "done (whole copy)") or more not in ("", *FORCED):
                raise AssertionError(f"a cell that no test understands: {text}")
            return cls(done=True, drops=bool(more))
        text = text.removeprefix("after a swap: done, else ").removesuffix(" when regions changed")
        return cls(done=False, hints=tuple(WORDS[words] for words in re.split(r" or |, then ", text)))


def read() -> dict[str, dict[str, Cell]]:
    """{column: {row: cell}}, of every state by itself."""
    lines = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("|")]
    head, _, *rows = ([part.strip() for part in line.strip("|").split("|")] for line in lines)
    table: dict[str, dict[str, Cell]] = {}
    for number, states in enumerate(head[1:], 1):
        for state in states.split(", "):
            table[state] = {row[0]: Cell.parse(row[number]) for row in rows}
    return table
