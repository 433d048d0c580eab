"""The small documents of both sites, each refused in every way, on a pair that runs all the time.

Owns the order of the rows: those after which the pair runs in the other direction come last.
"""

from __future__ import annotations

import errno
from pathlib import Path

from tests.crash.disk_errors import beside, moves, orders, programs
from tests.crash.disk_errors.refusal import REPLACED, faults
from tests.crash.disk_errors.sites import running
from tests.crash.results import Row
from tests.support.processes import Processes

BRIEF_PROGRAMS = ("progress of the copy", "content of the safe point", "list of markers")
BRIEF_ORDERS = (
    "run of a verify",
    "list of markers",
    "ledger of drills",
    "state of a controller",
    "pairs of an agent",
    "moments of an agent",
)


def run_orders(row: Row, processes: Processes, directory: Path) -> None:
    """What orders write, and what is written beside them."""
    with running(processes, directory) as sites:
        for name, order in orders.ORDERS.items():
            orders.run(row, sites, name, order, faults(order.places))
        beside.pair_record(row, sites, faults(REPLACED, [errno.EIO]))
        beside.overlay(row, sites)
        beside.past(row, sites)


def run_programs(row: Row, processes: Processes, directory: Path) -> None:
    """What copy and restore write; the other error number at the first call of each alone."""
    with running(processes, directory) as sites:
        for name, program in programs.PROGRAMS.items():
            met = faults(program.places, [errno.EIO]) + faults(program.places[:1], [errno.ENOSPC])
            programs.run(row, sites, name, program, met)


def run_moves(row: Row, processes: Processes, directory: Path) -> None:
    """What a journal of another size is made of; the other error number at the first call of each alone."""
    with running(processes, directory) as sites:
        moves.prepare(sites)
        for name, order in moves.ORDERS.items():
            met = faults(order.places, [errno.EIO]) + faults(order.places[:1], [errno.ENOSPC])
            orders.run(row, sites, name, order, met)
        moves.switched(row, sites)


def run_brief(row: Row, processes: Processes, directory: Path) -> None:
    """On one pair, of each kind of document the last sync that can be refused."""
    with running(processes, directory) as sites:
        for name in BRIEF_PROGRAMS:
            program = programs.PROGRAMS[name]
            programs.run(row, sites, name, program, faults(program.places[-1:], [errno.EIO]))
        for name in BRIEF_ORDERS:
            order = orders.ORDERS[name]
            orders.run(row, sites, name, order, faults(order.places[-1:], [errno.EIO]))
        beside.overlay(row, sites)


SCENARIOS = {"documents of orders": run_orders, "documents of programs": run_programs, "journals that move": run_moves}
