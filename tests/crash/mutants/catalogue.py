"""Ten mistakes that the product could have, each as a change of its text, and the smallest suite that must catch it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

CRASH = ("-m", "tests.crash.run", "--no-controls")
SERIAL = (*CRASH, "serial", "--points", "300")
# For what the background sync hides nearly always: a window of a few milliseconds.
SERIAL_LONG = (*CRASH, "serial", "--points", "1200")
ORDER = (*CRASH, "order", "--points", "60")
HOSTILE = (*CRASH, "hostile", "--points", "3000")
ERRORS = (*CRASH, "journal-errors")
TAKEOVER = ("-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "tests/integration/hostagent/test_takeover.py")


@dataclass(frozen=True, slots=True)
class Mutant:
    """`old` stands exactly once in `file`; with `new` in its place `suite` (arguments of python) must fail.

    `also` is a second old and new text, of what would hide the mistake most of the time.
    """

    name: str
    file: str
    old: str
    new: str
    suite: tuple[str, ...]
    also: tuple[str, str] | None = None

    @property
    def changes(self) -> list[tuple[str, str]]:
        """Old and new text of each."""
        return [(self.old, self.new), *([self.also] if self.also else [])]

    def apply(self, tree: Path) -> None:
        """Change a copy of the tree; AssertionError when the product no longer has that text."""
        path = tree / self.file
        text = path.read_text()
        for old, new in self.changes:
            assert text.count(old) == 1, f"mutant {self.name!r} no longer applies: {self.file} has changed"
            text = text.replace(old, new)
        path.write_text(text)


MUTANTS = [
    Mutant(
        "flush does nothing",
        "controller/volume/journaled.py",
        "    def flush(self, volume: ServedVolume) -> None:\n",
        "    def flush(self, volume: ServedVolume) -> None:\n        return\n",
        ORDER,
    ),
    Mutant(
        "acknowledge before journal",
        "controller/volume/journaled.py",
        "        length = len(data)\n        if length <= self._piece_bytes:\n",
        "        length = len(data)\n"
        "        if length <= self._piece_bytes and not fua:\n"
        "            late = (volume, memoryview(bytes(data)), offset // BLOCK_BYTES, length // BLOCK_BYTES)\n"
        "            threading.Timer(0.002, self._append, late).start()\n"
        "            return None\n"
        "        if length <= self._piece_bytes:\n",
        ORDER,
    ),
    Mutant(
        "PVOL before journal",
        "controller/volume/destage.py",
        "        self._commit.wait(segment.end.sequence)\n",
        "",
        SERIAL_LONG,
        also=("self._overlay.frozen and self._destage_due(now):", "self._overlay.frozen:"),  # what waits is durable
    ),
    Mutant(
        "swallowed EIO",
        "controller/journal/volume.py",
        "        os.fdatasync(self.file)\n\n    def close",
        "        try:\n            os.fdatasync(self.file)\n        except OSError:\n            pass\n\n    def close",
        ERRORS,
    ),
    Mutant(
        "early purge",
        "controller/volume/destage.py",
        "            self._persist()\n",
        "            pass  # space is used again before the pointers that free it are durable\n",
        SERIAL,
    ),
    Mutant(
        "CRC skipped",
        "controller/journal/layout.py",
        "    count = len(records)\n    stored",
        "    return np.ones(len(records), dtype=np.bool_)\n    count = len(records)\n    stored",
        HOSTILE,
    ),
    Mutant(
        "wrap off by one",
        "controller/copy/remote.py",
        "size - offset)\n",
        "size - offset + BLOCK_BYTES)\n",
        HOSTILE,
    ),
    Mutant(
        "order by arrival",
        "controller/restore/merge.py",
        "    np.not_equal(keys[1:], keys[:-1], out=newest[:-1])\n",
        "    np.not_equal(keys[1:], keys[:-1], out=newest[1:])\n",
        HOSTILE,
    ),
    Mutant(
        "no generation check",
        "controller/restore/verify.py",
        '(records["generation"] >= low,',
        '(records["generation"] >= 0,',
        HOSTILE,
    ),
    Mutant(
        "promote without fence",
        "hostagent/commands/old_primary.py",
        "        quiet = self.serve(primary.generation, successor, on=False)\n",
        "        quiet = primary\n",
        TAKEOVER,
    ),
]
