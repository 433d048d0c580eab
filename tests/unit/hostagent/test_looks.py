"""How long journals have been missing, from looks at the primary: bounds on what was so, whatever happens to it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hostagent.copy_manager.looks import LOOKS_MAX, Looks, Missing


def looks_of(*seen: tuple[int, float]) -> Looks:
    looks = Looks()
    for sequence, seconds in seen:
        looks.add(sequence, seconds)
    return looks


def test_nothing_seen_says_nothing() -> None:
    assert Looks().missing(0, 100.0) == Missing(0.0, None)


def test_missing_since_a_look_that_showed_it_and_not_since_before_one_that_did_not() -> None:
    assert looks_of((5, 10.0), (7, 20.0)).missing(5, 50.0) == Missing(30.0, 40.0)
    assert looks_of((5, 10.0), (7, 20.0)).missing(7, 50.0) == Missing(0.0, 30.0)


def test_without_a_look_that_showed_no_more_there_is_no_upper_bound() -> None:
    assert looks_of((7, 20.0), (9, 30.0)).missing(5, 50.0) == Missing(30.0, None)
    assert looks_of((7, 20.0), (7, 30.0), (7, 40.0)).missing(5, 50.0) == Missing(30.0, None)


def test_a_look_at_a_primary_that_takes_writes_into_no_journal_covers_nothing() -> None:
    looks = Looks()
    looks.add(7, 20.0, whole=False)
    assert looks.missing(5, 50.0) == Missing(30.0, None)
    assert looks.missing(7, 50.0) == Missing(30.0, None)  # what is in no journal comes behind the last one


def test_journals_that_the_primary_lost_make_those_before_them_no_younger() -> None:
    assert looks_of((7, 20.0), (9, 30.0), (8, 40.0)).missing(5, 50.0) == Missing(30.0, None)
    assert looks_of((5, 10.0), (9, 30.0), (8, 40.0)).missing(5, 50.0) == Missing(20.0, 40.0)


@given(st.lists(st.sampled_from(["write", "write", "look", "look", "read", "lose", "suspend", "resume"]), max_size=400))
def test_the_upper_bound_holds_and_without_losses_the_lower_one(steps: list[str]) -> None:
    """Against when each journal was written: one step is a second; hosts write all the while."""
    looks, written, read, durable, losses = Looks(), [0], 0, 0, False
    suspended_at: int | None = None
    for now, step in enumerate(steps):
        newest = len(written) - 1
        if step == "write" and suspended_at is None:
            written.append(now)
        elif step == "look":
            durable = newest
            looks.add(newest, float(now), whole=suspended_at is None)
        elif step == "read":
            read = min(durable, read + 3)
        elif step == "lose" and suspended_at is None:
            del written[max(read, durable - 1) + 1 :]
            durable, losses = len(written) - 1, True
        elif step == "suspend" and suspended_at is None:
            suspended_at = now
        elif step == "resume" and read == newest:  # what changed has been brought over, and a marker tells of it
            suspended_at, read, durable = None, read + 1, durable + 1
            written.append(now)
            looks.add(durable, float(now))
    now = len(steps)
    since = written[read + 1] if read + 1 < len(written) else suspended_at
    if since is not None:
        found = looks.missing(read, float(now))
        assert found.at_most is None or found.at_most >= now - since
        assert losses or found.at_least <= now - since


def test_however_many_looks_there_are_the_bounds_stay_bounds() -> None:
    looks = looks_of(*((number, float(number)) for number in range(10 * LOOKS_MAX)))
    found = looks.missing(100, 1000.0)
    assert found.at_most is not None
    assert found.at_least <= 1000.0 - 101 <= 1000.0 - 100 <= found.at_most
