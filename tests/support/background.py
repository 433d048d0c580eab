"""Something done again and again, in a thread of its own, beside what a test does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def repeated(act: Callable[[], None], pause_seconds: Callable[[], float]) -> Iterator[None]:
    """Until the block ends; what `act` raised ends it, and is raised after a block that went well."""
    stop = threading.Event()
    failures: list[Exception] = []

    def main() -> None:
        try:
            while not stop.wait(pause_seconds()):
                act()
        except Exception as error:  # noqa: BLE001 - the boundary of a thread: raised below
            failures.append(error)

    thread = threading.Thread(target=main, name="repeated", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    if failures:
        raise failures[0]
