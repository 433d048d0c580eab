"""The judge of the demonstration must find every kind of loss: each mutant here fails it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hostagent.cli.demo.verdict import (
    Outcome,
    RecordComparison,
    RecoveredRecords,
    compare_files,
    compare_records,
    mean,
    percentile,
    read_records,
)
from hostagent.cli.demo.workload import SyncedFile, digest, make_record, record_file

RUN = "run"
RECOVERY_NS = 1000


def write_records(mount: Path, numbers: list[int]) -> None:
    """What a writer that was stopped leaves: each record appended to its file."""
    (mount / "records").mkdir()
    for number in numbers:
        with (mount / record_file(number)).open("ab") as file:
            file.write(make_record(RUN, number))


def judged(mount: Path, acknowledged: int, with_tail: int) -> RecordComparison:
    """Record n was acknowledged at the time n * 10; the tail completes the records up to `with_tail`."""
    times = {number: number * 10 for number in range(1, acknowledged + 1)}
    completed = RecoveredRecords(frozenset(range(1, with_tail + 1)), 0)
    return compare_records(times, read_records(mount, RUN), completed, RECOVERY_NS)


def test_a_prefix_with_the_rest_in_the_tail_is_right(tmp_path: Path) -> None:
    write_records(tmp_path, list(range(1, 104)))
    found = judged(tmp_path, 120, 121)
    assert (found.recovered, found.in_tail, found.lost, found.late, found.order_violations) == (103, 17, [], [], 0)


def test_a_record_written_but_not_acknowledged_may_be_there(tmp_path: Path) -> None:
    write_records(tmp_path, list(range(1, 122)))
    found = judged(tmp_path, 120, 121)
    assert (found.lost, found.order_violations) == ([], 0)


def test_an_acknowledged_record_in_neither_place_is_lost(tmp_path: Path) -> None:
    write_records(tmp_path, list(range(1, 104)))
    assert judged(tmp_path, 120, 119).lost == [120]


def test_a_record_that_the_tail_destroys_is_lost(tmp_path: Path) -> None:
    write_records(tmp_path, list(range(1, 104)))
    assert judged(tmp_path, 103, 102).lost == [103]


def test_a_record_missing_from_before_the_recovery_point_is_late_even_if_in_the_tail(tmp_path: Path) -> None:
    write_records(tmp_path, list(range(1, 100)))
    assert judged(tmp_path, 120, 120).late == [100]


def drop_one(mount: Path) -> None:
    """The last record of one file never arrived, those of the others did."""
    path = mount / record_file(41)
    path.write_bytes(path.read_bytes()[:-4096])


def swap_two(mount: Path) -> None:
    path = mount / record_file(9)
    data = path.read_bytes()
    path.write_bytes(data[4096:8192] + data[:4096] + data[8192:])


def flip_a_bit(mount: Path) -> None:
    path = mount / record_file(17)
    data = bytearray(path.read_bytes())
    data[5000] ^= 1
    path.write_bytes(data)


def zero_one(mount: Path) -> None:
    path = mount / record_file(3)
    data = path.read_bytes()
    path.write_bytes(data[:4096] + bytes(4096) + data[8192:])


@pytest.mark.parametrize("harm", [drop_one, swap_two, flip_a_bit, zero_one])
def test_every_harm_is_an_order_violation(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    write_records(tmp_path, list(range(1, 49)))
    assert judged(tmp_path, 48, 48).order_violations == 0
    harm(tmp_path)
    assert judged(tmp_path, 48, 48).order_violations > 0


def lengthen(mount: Path, number: int) -> None:
    """What ext4 may leave of an append whose fsync has not returned: the size, not yet the bytes."""
    with (mount / record_file(number)).open("ab") as file:
        file.write(bytes(4096))


def test_the_record_in_flight_may_read_as_zeros(tmp_path: Path) -> None:
    write_records(tmp_path, list(range(1, 49)))
    lengthen(tmp_path, 49)
    found = judged(tmp_path, 48, 48)
    assert (found.recovered, found.lost, found.late, found.order_violations) == (48, [], [], 0)


def test_an_acknowledged_record_of_zeros_is_late_and_lost(tmp_path: Path) -> None:
    write_records(tmp_path, list(range(1, 49)))
    lengthen(tmp_path, 49)
    found = judged(tmp_path, 49, 48)
    assert (found.lost, found.late) == ([49], [49])


@pytest.mark.parametrize("number", [50, 57])
def test_zeros_beyond_the_record_in_flight_are_damage(tmp_path: Path, number: int) -> None:
    write_records(tmp_path, list(range(1, 49)))
    lengthen(tmp_path, 49)
    lengthen(tmp_path, number)
    assert judged(tmp_path, 48, 48).order_violations == 1


def test_records_of_another_run_do_not_count(tmp_path: Path) -> None:
    write_records(tmp_path, list(range(1, 9)))
    assert read_records(tmp_path, "another").numbers == frozenset()


def test_files_synced_before_the_recovery_point_must_be_there_and_equal(tmp_path: Path) -> None:
    contents = {"equal": b"a" * 10, "shorter": b"b" * 10, "changed": b"c" * 10, "missing": b"d", "later": b"e"}
    files = [
        SyncedFile(name, len(data), digest(data), RECOVERY_NS + (name == "later")) for name, data in contents.items()
    ]
    (tmp_path / "equal").write_bytes(contents["equal"])
    (tmp_path / "shorter").write_bytes(contents["shorter"][:-1])
    (tmp_path / "changed").write_bytes(b"c" * 9 + b"!")
    found = compare_files(files, tmp_path, RECOVERY_NS)
    assert found.files == 4
    assert found.total_bytes == 31
    assert found.missing == ["missing"]
    assert sorted(found.different) == ["changed", "shorter"]


def test_verdict_is_ok_only_if_every_check_held() -> None:
    assert not Outcome().passed
    assert Outcome({"a": True}, {"lost": 0}).document() == {"verdict": "OK", "checks": {"a": True}, "lost": 0}
    assert Outcome({"a": True, "b": False}).document()["verdict"] == "CRIT"


def test_figures_of_samples() -> None:
    samples = [0.1] * 98 + [0.5, 0.9]
    assert mean(samples) == pytest.approx(0.112)
    assert percentile(samples, 0.99) == 0.9
    assert percentile([], 0.99) is None
    assert mean([]) is None
