"""Clients of the database that outlive it: a ledger of every acknowledged transaction, and pgbench beside it."""

from __future__ import annotations

import itertools
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg

from tests.postgres.cluster import DATABASE, Cluster
from tests.support.waiting import wait_until

TABLE = "CREATE TABLE ledger (number bigint PRIMARY KEY, client int NOT NULL, words text NOT NULL)"
INSERT = "INSERT INTO ledger VALUES (%s, %s, repeat(%s, 20))"
CLIENTS = 2
PGBENCH_CLIENTS = 2
END_SECONDS = 60


@dataclass
class Ledger:
    """What was acknowledged, by whom and when; kept in memory of a process that no disaster reaches."""

    acknowledged: dict[int, tuple[int, int]] = field(default_factory=dict)  # number: (client, time_ns)
    given_up: int = 0  # acknowledged, and gone with a primary beyond what the other site had
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def newest(self) -> int:
        return len(self.acknowledged)

    def write(self, cluster: Cluster, client: int, stopping: threading.Event) -> None:
        """One transaction after the other until the database goes away."""
        with cluster.connect() as connection:
            while not stopping.is_set():
                number = next(self.numbers)
                connection.execute(INSERT, (number, client, str(number)))
                connection.commit()
                self.acknowledged[number] = (client, time.time_ns())

    def after_takeover(self, present: set[int], horizon_ns: int | None) -> list[str]:
        """What is wrong with the rows that are there. None: all acknowledged are to be there.

        What was acknowledged before the horizon must be there; of what came
        after it, each client's must be there without a gap, because each
        waited for one answer before the next. What is gone is forgotten here.
        """
        faults = []
        gone_from: dict[int, int] = {}
        for number, (client, time_ns) in sorted(self.acknowledged.items()):
            if number in present:
                if client in gone_from:
                    faults.append(f"transaction {number} of client {client} is there, {gone_from[client]} is not")
                continue
            gone_from.setdefault(client, number)
            if horizon_ns is None:
                faults.append(f"acknowledged transaction {number} is not there")
            elif time_ns <= horizon_ns:
                faults.append(f"transaction {number}, {(horizon_ns - time_ns) / 1e9:.3f} s before the horizon, is gone")
        for number in self.acknowledged.keys() - present:
            del self.acknowledged[number]
            self.given_up += 1
        return faults


@contextmanager
def working(cluster: Cluster, ledger: Ledger) -> Iterator[None]:
    """Clients at work until the end of the block; each ends by itself when the database goes away."""
    stopping = threading.Event()

    def client(number: int) -> None:
        try:
            ledger.write(cluster, number, stopping)
        except psycopg.Error:
            pass  # the database is gone: what was answered is recorded

    threads = [threading.Thread(target=client, args=(n,), daemon=True) for n in range(CLIENTS)]
    words = ["-n", "-c", str(PGBENCH_CLIENTS), "-j", "1", "-T", "3600", DATABASE]
    pgbench = subprocess.Popen(
        cluster.command("pgbench", *cluster.address(), *words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stopping.set()
        pgbench.kill()
        pgbench.wait(END_SECONDS)
        for thread in threads:
            thread.join(END_SECONDS)
        assert not any(thread.is_alive() for thread in threads), "a client of the database hangs"


def await_transactions(ledger: Ledger, count: int) -> None:
    """Until so many more are acknowledged."""
    wanted = ledger.newest() + count
    wait_until(lambda: ledger.newest() >= wanted, 60, f"{count} more acknowledged transactions")


def rows(cluster: Cluster) -> set[int]:
    return {row[0] for row in cluster.run_sql("SELECT number FROM ledger")}


def balances(cluster: Cluster) -> list[str]:
    """pgbench's own books: every transaction adds the same to four tables, or to none."""
    sums = {
        table: cluster.run_sql(f"SELECT coalesce(sum({column}), 0) FROM {table}")[0][0]
        for table, column in {
            "pgbench_accounts": "abalance",
            "pgbench_tellers": "tbalance",
            "pgbench_branches": "bbalance",
            "pgbench_history": "delta",
        }.items()
    }
    return [] if len(set(sums.values())) == 1 else [f"pgbench's books do not agree: {sums}"]
