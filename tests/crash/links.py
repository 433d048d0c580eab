"""The primary's journal as a secondary finds it, for tests that want no server between."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from controller.api.models import Composition, CopySource, Links
from controller.copy.in_flight import Range
from controller.copy.link import DataLink
from controller.copy.remote import RemoteJournal
from controller.errors import PeerError
from controller.journal.volume import JournalVolume

NO_LINKS = Links(journal_uri="nbd://unused", pointers_uri="nbd://unused", volume_uris={})


class MemoryLink(DataLink):
    """Reads a file of the primary without a network between."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"file:{path}")
        self.connections = 1
        self._file = os.open(path, os.O_RDONLY)

    def read_ranges(self, ranges: Iterable[Range]) -> None:
        for offset, length, view in ranges:
            if os.preadv(self._file, [view[:length]], offset) != length:
                raise PeerError(f"{self.uri} ends before byte {offset + length}")

    def close(self) -> None:
        self.connections += 1  # as if connected anew

    def end(self) -> None:
        os.close(self._file)


def copy_source(journal_path: Path, generation: int = 1, links: Links = NO_LINKS) -> CopySource:
    """What an order to copy from that journal volume says."""
    journal = JournalVolume.open(str(journal_path), writable=False)
    header = journal.header
    journal.close()
    return CopySource(
        uuid=header.group_uuid,
        site="tokyo",
        generation=generation,
        composition=Composition(
            journal_uuid=header.journal_uuid,
            metadata_head_lba=header.metadata_head_lba,
            metadata_block_count=header.metadata_block_count,
            data_head_lba=header.data_head_lba,
            data_block_count=header.data_block_count,
        ),
        links=links,
    )


@contextmanager
def memory_remote(journal_path: Path, pointers_path: Path, generation: int = 1) -> Iterator[RemoteJournal]:
    """The product's reader of a primary's journal, over files of this machine."""
    remote = RemoteJournal(copy_source(journal_path, generation))
    links = MemoryLink(journal_path), MemoryLink(pointers_path)
    remote._journal, remote._pages = links
    try:
        yield remote
    finally:
        for link in links:
            link.end()
