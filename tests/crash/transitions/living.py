"""More circles: commands that change a pair which lives on, and the few that only ask something of it.

| circle | commands | what must be so afterwards |
|---|---|---|
| members | add, remove | groups and agents have the same volumes; equal; one of them again, the other whole |
| sizes | volume resize, journal resize | the same lengths at both sites and in both groups; no move left behind |
| compare | verify, verify --repair, verify --cancel | identical; what was damaged is mended; no run under way |
| mark | marker put | both sites list the name as often, at most once a time it was given |
| order | journal stop, start, copy, restore, purge | PAIR, acquisition on, everything copied, restored and freed |
| tune | set --limit, set --compress | both agents keep the policy, the secondary goes by it |
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from controller.api.models import Compression, VolumeCreate
from controller.api.runs import RunPhase
from hostagent.api.models import PairState
from hostagent.api.volumes import JournalSize
from hostagent.cli.demo.sites import Site
from tests.crash.transitions.cycles import Turn, gone
from tests.crash.transitions.looks import damage, equal, folder, group, holds, identical, state, write
from tests.crash.transitions.sites import AGAIN_SECONDS, BLOCK, JOURNAL_BYTES, VOLUME_BYTES
from tests.support.waiting import wait_until

GROWTH_BYTES: Final = 1 << 20
POLICIES: Final = ((8 << 20, Compression.ZSTD), (None, Compression.NONE))  # in turns


def members(turn: Turn) -> None:
    """A volume with content of its own joins, and leaves again."""
    pair, name, partner = turn.pair, f"{turn.pair.name}-more", f"{turn.pair.name}-partner"
    primary = pair.agent(pair.primary)
    primary.create_volume(VolumeCreate(name=name, size_bytes=VOLUME_BYTES))
    write(pair, name, b"before")
    turn.give(turn.host, "add", lambda at: pair.agent(at).add_volumes(pair.name, [name], [partner]))
    pair.wait(PairState.PAIR)
    write(pair, name, b"joined")
    pair.write()
    pair.in_step()
    holds(pair, [pair.name, name], [pair.name, partner])
    equal(pair, name, partner)
    turn.give(turn.host, "remove", lambda at: pair.agent(at).remove_volumes(pair.name, [name]), gone)
    pair.wait(PairState.PAIR)
    holds(pair, [pair.name], [pair.name])
    equal(pair, name, partner)
    pair.write()
    pair.in_step()
    primary.delete_volume(name)
    pair.agent(pair.secondary).delete_volume(partner)


def sizes(turn: Turn) -> None:
    """Volumes grow by a step at each turn; journals grow and shrink in turns."""
    pair, name = turn.pair, turn.pair.name
    size_bytes = pair.agent(pair.primary).volume(name).size_bytes + GROWTH_BYTES
    turn.give(turn.host, "volume resize", lambda at: pair.agent(at).resize_volume(name, size_bytes))
    pair.write()
    write(pair, name, b"beyond", size_bytes - BLOCK)
    pair.wait(PairState.PAIR)
    pair.in_step()
    for site in pair.sites:
        told = pair.agent(site).volume(name)
        member = group(site, name).volumes[0]
        lengths = told.size_bytes, member.size_bytes, Path(told.backing).stat().st_size
        assert lengths == (size_bytes,) * 3, f"{site.name} has {lengths}, not {size_bytes}"
    journal_bytes = JOURNAL_BYTES * (3 if turn.step % 2 else 2)
    order = JournalSize(size_bytes=journal_bytes)
    turn.give(turn.host, "journal resize", lambda at: pair.agent(at).resize_journal(name, order))
    pair.write()
    pair.wait(PairState.PAIR)
    pair.in_step()
    for site in pair.sites:
        found = group(site, name).journal_bytes
        assert found == journal_bytes, f"the journal of {site.name} has {found}, not {journal_bytes}"
        left = sorted(path.name for path in folder(site, name).glob("journal*"))
        assert left == ["journal"], f"{left} at {site.name}"


def compare(turn: Turn) -> None:
    """Three commands: nothing differs; something does, and is mended; a drill holds one up, which is cancelled."""
    pair, name = turn.pair, turn.pair.name
    pair.write()
    pair.in_step()
    turn.give(turn.host, "verify", lambda at: pair.agent(at).verify_pair(name))
    identical(pair)
    damage(pair)
    turn.give(turn.host, "repair", lambda at: pair.agent(at).verify_pair(name, repair=True))
    identical(pair)
    pair.in_step()
    agent = pair.agent(pair.primary)
    agent.start_drill(name)
    agent.verify_pair(name)
    turn.give(turn.host, "cancel", lambda at: pair.agent(at).verify_pair(name, cancel=True))
    pair.again(lambda: agent.stop_drill(name))
    pair.wait(PairState.PAIR)
    pair.in_step()
    told, run = agent.verify_report(name), state(pair.primary, name).run
    assert told.phase == "interrupted", told.line
    assert run is not None
    assert run.phase is RunPhase.INTERRUPTED, f"run {run.run} is left {run.phase}"


def mark(turn: Turn) -> None:
    pair, name = turn.pair, f"turn{turn.step}-{turn.pair.number}"
    given = 0

    def put(site: Site) -> None:
        nonlocal given
        given += 1
        answers.append(pair.agent(site).put_marker(pair.name, name).sequence)

    answers: list[int] = []
    pair.write()
    turn.give(turn.host, "marker", put)
    pair.write()
    pair.in_step()
    sides = pair.agent(pair.secondary).markers(pair.name)
    assert sides.primary is not None
    assert sides.secondary is not None
    here, there = ([each.sequence for each in side if each.name == name] for side in (sides.primary, sides.secondary))
    assert here == there, f"{name} was put at {here} and delivered at {there}"
    assert 1 <= len(set(here)) == len(here) <= given, f"given {given} times, it is at {here}"
    assert set(answers) <= set(here), f"{answers} were answered, it is at {here}"


def order(turn: Turn) -> None:
    """What is written while acquisition is off comes with the whole copy."""
    pair, name = turn.pair, turn.pair.name
    turn.give(turn.host, "journal stop", lambda at: pair.agent(at).stop_journal(name))
    pair.wait(PairState.PSUS)
    pair.write()
    turn.give(turn.host, "journal start", lambda at: pair.agent(at).start_journal(name))
    pair.wait(PairState.PAIR)
    pair.write()
    turn.give(turn.host, "journal copy", lambda at: pair.agent(at).copy_journal(name))
    turn.give(turn.host, "journal restore", lambda at: pair.agent(at).restore_journal(name))
    pair.in_step()
    turn.give(turn.host, "journal purge", lambda at: pair.agent(at).purge_journal(name))
    pair.wait(PairState.PAIR)
    assert state(pair.primary, name).acquisition, f"acquisition of {name} is off"

    def freed() -> bool:
        pointers = state(pair.primary, name).pointers
        return pointers["confirmed"].sequence == pointers["journal_in"].sequence

    wait_until(freed, AGAIN_SECONDS, f"the journals of {name} to be freed", interval=0.1)


def tune(turn: Turn) -> None:
    pair, name = turn.pair, turn.pair.name
    limited = pair.agent(pair.primary).pairs()[0].policy.limit_bytes_per_second is not None
    limit, compression = POLICIES[limited]
    turn.give(turn.host, "limit", lambda at: pair.agent(at).set_pair(name, limit))
    turn.give(turn.host, "compression", lambda at: pair.agent(at).compress_pair(name, compression))

    def kept() -> bool:
        policies = [agent.pairs()[0].policy for agent in pair.agents.values()]
        return all((each.limit_bytes_per_second, each.compression) == (limit, compression) for each in policies)

    wait_until(kept, AGAIN_SECONDS, f"both agents to keep {limit} and {compression}", interval=0.1)
    pair.write()
    pair.wait(PairState.PAIR)
    pair.in_step()
    assert state(pair.secondary, name).limit_bytes_per_second == limit


CIRCLES: Final[dict[str, Callable[[Turn], None]]] = {
    "members": members,
    "sizes": sizes,
    "compare": compare,
    "mark": mark,
    "order": order,
    "tune": tune,
}
