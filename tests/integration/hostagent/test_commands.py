"""Commands in states that do not allow them (hostagent/COMMANDS.md), each given to either host of two real sites."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from controller.errors import NotFoundError, PairvolError
from hostagent.api.models import PairResync, PairSplit, PairState
from hostagent.api.volumes import JournalSize
from hostagent.client import Agent
from tests.integration.hostagent.conftest import JOURNAL_BYTES, VOLUME_BYTES, Case
from tests.support.waiting import wait_until

pytestmark = pytest.mark.e2e

Command = Callable[[Agent, str], Any]
COMMANDS: dict[str, Command] = {
    "split": lambda agent, group: agent.split_pair(group),
    "resync": lambda agent, group: agent.resync_pair(group),
    "swap": lambda agent, group: agent.resync_pair(group, PairResync(swap=True)),
    "takeover": lambda agent, group: agent.take_over(group),
    "takeover --to tokyo": lambda agent, group: agent.take_over(group, to="tokyo"),
    "takeover --to nagoya": lambda agent, group: agent.take_over(group, to="nagoya"),
    "delete": lambda agent, group: agent.delete_pair(group),
    "verify": lambda agent, group: agent.verify_pair(group),
    "journal start": lambda agent, group: agent.start_journal(group),
    "journal stop": lambda agent, group: agent.stop_journal(group),
    "journal copy": lambda agent, group: agent.copy_journal(group),
    "journal restore": lambda agent, group: agent.restore_journal(group),
    "journal purge": lambda agent, group: agent.purge_journal(group),
    "journal resize": lambda agent, group: agent.resize_journal(group, JournalSize(size_bytes=2 * JOURNAL_BYTES)),
    "marker put": lambda agent, group: agent.put_marker(group, "point"),
    "drill start": lambda agent, group: agent.start_drill(group),
    "drill stop": lambda agent, group: agent.stop_drill(group),
    "add": lambda agent, group: agent.add_volumes(group, ["other"], ["other"]),
    "remove": lambda agent, group: agent.remove_volumes(group, [group]),
    "volume resize": lambda agent, group: agent.resize_volume(group, 2 * VOLUME_BYTES),
}
DONE = ""
SWAP = "pair resync {group} --swap"
RESYNC = "pair resync {group}"
STOP = "drill stop {group}"

PROTECTED = {
    "resync": DONE,
    "swap": "pair takeover {group}",
    "takeover --to tokyo": DONE,
    "takeover --to nagoya": "pair status {group}",
    "remove": "pair delete {group}",
    "journal start": DONE,
    "journal purge": DONE,
    "drill stop": DONE,
}
REHEARSED = {"split": STOP, "delete": STOP, "volume resize": STOP}
SPLIT = {
    "split": DONE,
    "swap": RESYNC,
    "takeover": RESYNC,
    "takeover --to tokyo": DONE,
    "verify": RESYNC,
    "journal start": RESYNC,
    "journal copy": DONE,
    "journal purge": DONE,
    "marker put": "pair resync GROUP",
    "drill start": RESYNC,
    "volume resize": RESYNC,
}
STOPPED = {
    "split": "journal start {group}",
    "takeover": RESYNC,
    "verify": RESYNC,
    "journal stop": DONE,
    "journal resize": "journal start {group}",
    "marker put": "pair resync GROUP",
}
NOT_OF_THE_TAKEN = ("swap", "takeover", "takeover --to nagoya", "delete", "drill stop")
TAKEN_OVER = {"takeover": DONE, "drill stop": DONE} | {name: SWAP for name in COMMANDS if name not in NOT_OF_THE_TAKEN}


def taken_over(agent: Agent, group: str) -> bool:
    return any(pair.group == group and pair.taken_over for pair in agent.pairs())


def give(case: Case, expected: dict[str, str], state: PairState) -> None:
    for name, words in expected.items():
        for agent in (case.tokyo, case.osaka):
            if words == DONE:
                COMMANDS[name](agent, case.name)
                continue
            with pytest.raises(PairvolError) as caught:
                COMMANDS[name](agent, case.name)
            error = caught.value
            assert (error.exit_code, type(error).__name__) == (20, "ConflictError"), (name, error.message)
            assert f"pairvol {words.format(group=case.name)}" in error.hint, (name, error.message, error.hint)
    assert case.status().state is state


def test_every_refusal_names_the_next_command(case: Case) -> None:
    for name, command in COMMANDS.items():
        if name != "volume resize":
            for agent in (case.tokyo, case.osaka):
                with pytest.raises(NotFoundError, match="no pair named"):
                    command(agent, case.name)
    case.pair()
    case.write(1)
    give(case, PROTECTED, PairState.PAIR)
    case.osaka.start_drill(case.name)
    give(case, REHEARSED, PairState.PAIR)
    case.tokyo.stop_drill(case.name)
    case.tokyo.split_pair(case.name, PairSplit())
    case.write(2)
    give(case, SPLIT, PairState.PSUS)
    case.osaka.resync_pair(case.name)
    case.wait_state(PairState.PAIR)
    case.tokyo.stop_journal(case.name)
    give(case, STOPPED, PairState.PSUS)
    case.osaka.take_over(case.name, force=True)
    case.wait_state(PairState.SSWS)
    wait_until(lambda: all(taken_over(agent, case.name) for agent in (case.tokyo, case.osaka)), what="both to know")
    give(case, TAKEN_OVER, PairState.SSWS)
