"""What can be wrong between two sites: each kind, how it is made, and what a status must then say.

| kind | made by |
|---|---|
| loss, latency, rate, cuts, stalls, spoiled payload, address taken by another machine | the wire process |
| link down and up | `ip link set ... down` at the second site |
| resets in the middle of reads | `ss -K` at the first site |
| half-open | the wire drops the rest of an answer, then all; `ss -K` makes the first site forget its connections |
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from tests.crash.network.lanes import CONTROL, DATA, Faults, Lane
from tests.crash.network.sites import AGENT_PORTS, NetworkedSites
from tests.support.stamped import StampedPair
from tests.support.waiting import wait_until

RESETS = 3
THROUGH_SECONDS = 120.0  # for one window of journals over a link that hardly works


class Told(Enum):
    """What both sites must say while the fault lasts."""

    ANYTHING = "an answer"  # traffic passes, well or badly
    UNKNOWN = "the other site is unknown, since when, and why"
    DATA_LINK = "the journal cannot be read over the data link"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of fault. `reached` looks at what became of the packets meanwhile; `act` does what packets cannot."""

    name: str
    faults: Faults
    told: Told = Told.ANYTHING
    reached: str = ""  # a count of the wire that must have grown
    act: Callable[[NetworkedSites, StampedPair], int] | None = None  # how often it came about
    undo: Callable[[NetworkedSites], None] | None = None


def _pull_cable(sites: NetworkedSites, pair: StampedPair) -> int:
    sites.ends[1].link(up=False)
    return 1


def _put_cable_back(sites: NetworkedSites) -> None:
    sites.ends[1].link(up=True)


def _reset(sites: NetworkedSites, pair: StampedPair) -> int:
    """RST to both ends of every connection, again and again while writes go on."""
    killed = 0
    for _ in range(RESETS):
        killed += wait_until(sites.ends[0].kill_connections, 30, "connections to reset")
        pair.more_writes(100)
    return killed


def _forget(sites: NetworkedSites, pair: StampedPair) -> int:
    """In the middle of a read's answer the first site forgets its connections, and no word of that arrives.

    Nor will the reader ever send a word that would be refused: all it sent was acknowledged.
    """
    wait_until(lambda: sites.network.counts()["out data cut in an answer"], 30, "a read to be answered")
    wait_until(lambda: not sites.ends[1].unacknowledged(list(AGENT_PORTS)), 30, "all requests to be acknowledged")
    sites.network.set(Faults.everywhere(CUT))
    return sites.ends[0].kill_connections()


def _get_through(sites: NetworkedSites, pair: StampedPair) -> int:
    """Every connection is made anew under the fault, and journals go on arriving."""
    newest = sites.newest_read()
    sites.ends[0].kill_connections()
    wait_until(lambda: sites.newest_read() > newest, THROUGH_SECONDS, "journals to get through", interval=0.2)
    return 1


CUT = Lane(cut=True)
IN_AN_ANSWER = Faults.everywhere(Lane(cut_in_answer=True), directions=("out",), kinds=(DATA,))

KINDS = (
    Kind("loss 20 %", Faults.everywhere(Lane(loss=0.2)), reached="dropped", act=_get_through),
    Kind("latency 400 ms", Faults.everywhere(Lane(latency_seconds=0.4)), reached="delayed", act=_get_through),
    Kind("rate 1 Mbit/s", Faults.everywhere(Lane(rate_bits=1e6)), reached="delayed", act=_get_through),
    Kind("silence", Faults.everywhere(CUT), Told.UNKNOWN, "dropped"),
    Kind("cut from tokyo to osaka", Faults.everywhere(CUT, directions=("out",)), Told.UNKNOWN, "dropped"),
    Kind("cut from osaka to tokyo", Faults.everywhere(CUT, directions=("back",)), Told.UNKNOWN, "dropped"),
    Kind("half-open", IN_AN_ANSWER, Told.UNKNOWN, "cut in an answer", act=_forget),
    Kind("link down and up", Faults(), Told.UNKNOWN, act=_pull_cable, undo=_put_cable_back),
    Kind("resets in the middle of reads", Faults(), act=_reset),
    Kind(
        "payload spoiled",
        Faults.everywhere(Lane(spoil_every=40), directions=("out",), kinds=(DATA,)),
        reached="out data spoiled",
        act=_get_through,
    ),
    Kind(
        "address of osaka taken now and then",
        Faults.everywhere(Lane(refuse_share=0.3)),
        reached="refused",
        act=_get_through,
    ),
    Kind("control link stalled", Faults.everywhere(CUT, kinds=(CONTROL,)), Told.UNKNOWN, "control dropped"),
    Kind("data link stalled", Faults.everywhere(CUT, kinds=(DATA,)), Told.DATA_LINK, "data dropped"),
    Kind(
        "loss 5 %, 100 ms, 10 Mbit/s",
        Faults.everywhere(Lane(loss=0.05, latency_seconds=0.1, rate_bits=1e7)),
        reached="dropped",
        act=_get_through,
    ),
)


def grown(before: Counter[str], after: Counter[str], words: str) -> int:
    """By how much the counts whose names have these words grew."""
    return sum(after[name] - before[name] for name in after if words in name)
