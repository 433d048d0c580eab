"""Whether the journal that a primary serves is the one that ours continues: asked once for each connection.

A primary that was restored from a copy, or written to by two, has other
records under the same numbers; nothing of such a journal may be taken.
"""

from __future__ import annotations

from controller.copy.remote import RemoteJournal
from controller.errors import IntegrityError
from controller.journal.layout import records_valid
from controller.journal.volume import JournalVolume


class Recognition:
    """Compares one journal of ours with what is served; for one thread at a time."""

    def __init__(self, journal: JournalVolume) -> None:
        self._journal = journal
        self._session = 0  # of the remote, in which its journal was recognised

    def forget(self) -> None:
        """Look at its records before the next one is taken."""
        self._session = 0

    def check(self, remote: RemoteJournal, last: int) -> None:
        """Is it the named journal, and does it hold the record that we end with, `last`; IntegrityError if another."""
        if self._session and self._session == remote.session:
            return
        remote.greet()
        if last:
            mine, theirs = self._journal.records(last, last), remote.record(last)
            comparable = theirs["sequence"][0] == last == mine["sequence"][0] and bool(records_valid(theirs)[0])
            if comparable and mine.tobytes() != theirs.tobytes():
                raise IntegrityError(
                    f"record {last} differs between here and {remote.source.site}: the journals have diverged",
                    hint="Nothing was copied. Find out which side was written to, then pair again.",
                    sequence=last,
                )
        self._session = remote.session
