"""The documents that an agent keeps: one JSON object each, with the version of its form and one thing under one key.

Owns the form around the content, and how a document that cannot be taken is
refused: in one line that names the first mistake, and nothing is changed. One
without a version is of version 1, as agents wrote it before they said so.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import TypeAdapter, ValidationError

from controller import durable
from controller.api.shape import first_mistake
from controller.errors import IntegrityError, NotFoundError

VERSION: Final = 1  # of every document here

Content = TypeVar("Content")


def read(path: Path, key: str, kind: type[Content], mend: str) -> Content | None:
    """What the document at `path` keeps under `key`; None when there is none.

    IntegrityError when it is damaged or of a later version; `mend` says what to
    do about it besides putting back a copy.
    """
    try:
        document = durable.read_json(path)
    except NotFoundError:
        return None
    version = document.get("version", 1) if isinstance(document, dict) else None
    if isinstance(version, int) and version > VERSION:
        raise IntegrityError(
            f"document {path} is of format version {version}, this program reads version {VERSION}",
            hint="Nothing was changed; run the version of pairvol that wrote it.",
            path=str(path),
        )
    try:
        if version != VERSION or key not in document:
            raise IntegrityError(_words(path, key, "it is another document"), hint=_hint(mend), path=str(path))
        return TypeAdapter(kind).validate_python(document[key])
    except ValidationError as error:
        raise IntegrityError(_words(path, key, first_mistake(error)), hint=_hint(mend), path=str(path)) from error


def write(path: Path, key: str, content: Any) -> None:
    """Durable when this returns."""
    durable.write_json(path, {"version": VERSION, key: content})


def _words(path: Path, key: str, mistake: str) -> str:
    return f"document {path} does not hold {key}: {mistake}"


def _hint(mend: str) -> str:
    return f"Nothing was changed; put back a copy of that file, or {mend}."
