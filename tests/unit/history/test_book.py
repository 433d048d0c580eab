"""The ledger's file when its disk refuses: a line that was refused is not there, and the next one is."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from controller.errors import StorageError
from hostagent.history.book import Book
from hostagent.history.lines import EndLine


def line(at_ns: int) -> EndLine:
    return EndLine(pair="u-1", at_ns=at_ns)


def refuse(descriptor: int) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.mark.parametrize("before", [[], [line(1)]])
def test_a_line_that_was_refused_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: list[EndLine]
) -> None:
    book = Book(tmp_path / "db.jsonl")
    for each in before:
        book.append(each)
    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", refuse)
        with pytest.raises(StorageError):
            book.append(line(2), synced=True)
    assert book.lines() == before
    book.append(line(3), synced=True)
    assert book.lines() == [*before, line(3)]


def test_the_name_of_a_file_is_durable_with_its_first_durable_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book, synced = Book(tmp_path / "db.jsonl"), list[Path]()
    monkeypatch.setattr("controller.durable.sync_directory", synced.append)
    book.append(line(1))
    assert synced == []
    book.append(line(2), synced=True)
    assert synced == [tmp_path]


def test_a_line_is_there_though_the_file_cannot_be_made_shorter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = Book(tmp_path / "db.jsonl", bytes_max=1)
    with monkeypatch.context() as disk:
        disk.setattr(os, "rename", lambda *_: refuse(0))
        for at_ns in (1, 2):
            book.append(line(at_ns), synced=True)
    assert book.lines() == [line(1), line(2)]
