"""The disk-error matrix: every disk of a group, every way to fail, on both sides and at the start."""

from __future__ import annotations

import errno
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from controller.errors import PairvolError
from tests.crash.disk_errors import (
    agents,
    controllers,
    documents,
    full,
    group_files,
    group_lives,
    maps,
    primary,
    secondary,
    starts,
)
from tests.crash.disk_errors.primary import Case
from tests.crash.powercut.mutants import ERROR_MUTANTS
from tests.crash.results import Controls, Row, wanted
from tests.support.processes import Processes

MUTANT_SCRIPT = Path(__file__).parent.with_name("powercut") / "mutant_server.py"
LONG_FULL = ("volume on a full disk", "suspended on a full disk")  # others of them go the same way
BRIEF_DISKS = ("journal", "vol0")  # at start, and of a group that lives on without its journal
BRIEF_FILES = ("journal overwritten", "volume missing")
BRIEF_RIGHTS = ("pointers",)
BRIEF_STARTS = ("directory that may not be written",)
BRIEF_AGENTS = ("disk full", "pairs of a later version")

LANES = 3  # most of a scenario is waiting for processes
Scenario = Callable[[Row, Processes, Path], None]


def scenarios(brief: bool) -> list[tuple[str, Scenario]]:
    """All rows of the matrix by name; `brief` keeps the syncs that fail, and one of each kind of the rest."""
    rows: list[tuple[str, Scenario]] = []
    rows += [("documents", documents.run_brief)] if brief else list(documents.SCENARIOS.items())  # the longest first
    for part, run_case, cases in (
        ("primary", primary.run_case, [*primary.CASES, *primary.DIRECT_CASES]),
        ("primary", primary.run_suspend_case, primary.SUSPEND_CASES),
        ("secondary", secondary.run_case, secondary.CASES),
        ("starts", starts.run_case, starts.CASES),
    ):
        kept = [case for case in cases if not brief or _brief(case, part)]
        rows += [(f"{part}: {case}", partial(run_case, case=case)) for case in kept]
    for doing, run_fault, faults in (("mark", maps.run_mark, maps.MARKS), ("change", maps.run_change, maps.CHANGES)):
        met = [fault for fault in faults if not brief or (fault.number == errno.EIO and "sync" in fault.call)]
        rows += [(f"dirty map, {doing}: {fault}", partial(run_fault, fault=fault)) for fault in met]
    refused = [name for name in starts.REFUSED if not brief or name in BRIEF_FILES]
    rows += [(name, partial(starts.run_refusal, name=name)) for name in refused]
    rows += [(f"secondary, {name}", partial(starts.run_secondary_refusal, name=name)) for name in starts.REFUSED]
    rights = [name for name in starts.RIGHTS if not brief or name in BRIEF_RIGHTS]
    rows += [(f"no rights to {name}", partial(starts.run_rights, name=name)) for name in rights]
    rows += [("second server", starts.run_second_server), ("second at a secondary", starts.run_second_secondary)]
    started = [name for name in controllers.STARTS if not brief or name in BRIEF_STARTS]
    rows += [(name, partial(controllers.run_start, name=name)) for name in started]
    rows += [
        (f"agent: {name}", partial(agents.run_start, name=name))
        for name in agents.STARTS
        if not brief or name in BRIEF_AGENTS
    ]
    rows += [] if brief else [("state refused", controllers.state_refused)]
    rows += [("files of a group refused", partial(group_files.files_refused, brief=brief))]
    rows += [] if brief else [("groups made and demoted", group_lives.made_and_demoted)]
    rows += [(name, scenario) for name, scenario in full.SCENARIOS.items() if not brief or name not in LONG_FULL]
    return rows


def _brief(case: Case, part: str) -> bool:
    more = part == "starts" or case.on_error == "suspend"
    return (case.number, case.what) == (errno.EIO, "flush") and (not more or case.disk in BRIEF_DISKS)


def run_full(seed: int, points: int, directory: Path, controls: Controls = None) -> Row:
    """For `make crash`; the matrix has as many points as it has."""
    return run(seed, directory, controls=controls)


def run_journal(seed: int, points: int, directory: Path, controls: Controls = None) -> Row:
    """The journal's own rows alone."""
    row = Row("journal-errors", seed)
    with Processes(directory / "logs") as processes:
        for number, case in enumerate(primary.CASES[:4]):
            folder = directory / str(number)
            folder.mkdir()
            primary.run_case(row, processes, folder, case)
    return row


def run(seed: int, directory: Path, brief: bool = False, controls: Controls = None) -> Row:
    """The matrix and its controls; `directory` should lie in memory and have a short name."""
    row = Row("disks", seed)
    with Processes(directory / "logs") as processes:

        def meet(number: int, name: str, scenario: Scenario) -> Row:
            found, folder = Row("disks", seed), directory / str(number)
            folder.mkdir()
            try:
                scenario(found, processes, folder)
            except (AssertionError, PairvolError) as error:  # what does not heal ends its rows, not the others
                found.lose(f"{name}: {error}")
            return found

        with ThreadPoolExecutor(LANES) as pool:
            chosen = scenarios(brief)
            for found in pool.map(meet, range(len(chosen)), *zip(*chosen, strict=True)):
                row.add(found)
        for name in wanted(ERROR_MUTANTS, controls):
            folder = directory / name.split()[0]
            folder.mkdir()
            row.control(name, _caught(name, seed, processes, folder))
    return row


def _caught(name: str, seed: int, processes: Processes, directory: Path) -> bool:
    found = Row("disks control", seed)
    case = Case("journal", "flush", errno.EIO)
    primary.run_case(found, processes, directory, case, MUTANT_SCRIPT, {"PAIRVOL_MUTANT": name})
    return not found.holds
