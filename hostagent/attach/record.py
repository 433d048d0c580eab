"""What is kept durably about an attached volume, before and while it is attached."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from controller import durable
from controller.api.models import Name, Shape
from controller.errors import IntegrityError, NotDurableError, NotFoundError

METHOD_KERNEL: Final = "nbd"
METHOD_FUSE: Final = "nbdfuse"
METHOD_URI: Final = "uri"


class Record(Shape):
    """One attachment. `complete` is False from the intent until the device is there."""

    volume: Name
    uri: str
    method: str
    readonly: bool
    complete: bool = False
    device: str | None = None
    mount_point: str | None = None  # of nbdfuse


class Records:
    """All records, in one durable document; not for several threads at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._records: dict[str, Record] = {}
        try:
            document = durable.read_json(path)
        except NotFoundError:
            return
        try:
            records = TypeAdapter(list[Record]).validate_python(document["attachments"])
        except (ValidationError, KeyError, TypeError) as error:
            raise IntegrityError(
                f"document {path} does not hold attachments: {error}",
                hint="Nothing was changed; put back a copy of that file, or remove it when nothing is attached.",
            ) from error
        self._records = {record.volume: record for record in records}

    def all(self) -> list[Record]:
        return [self._records[volume] for volume in sorted(self._records)]

    def find(self, volume: str) -> Record | None:
        return self._records.get(volume)

    def put(self, record: Record) -> Record:
        self._write(self._records | {record.volume: record})
        return record

    def remove(self, volume: str) -> None:
        self._write({name: record for name, record in self._records.items() if name != volume})

    def _write(self, records: dict[str, Record]) -> None:
        document = {"attachments": [record.model_dump(mode="json") for record in records.values()]}
        try:
            durable.write_json(self._path, document)
        except NotDurableError:
            self._records = records  # what a restart finds is in force
            raise
        self._records = records
