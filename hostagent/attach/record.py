"""What is kept durably about an attached volume, before and while it is attached."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from controller.api.models import Name, Shape
from controller.errors import NotDurableError
from hostagent import documents

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
        records = documents.read(path, "attachments", list[Record], "remove it when nothing is attached")
        self._records = {record.volume: record for record in records or []}

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
        try:
            documents.write(self._path, "attachments", [record.model_dump(mode="json") for record in records.values()])
        except NotDurableError:
            self._records = records  # what a restart finds is in force
            raise
        self._records = records
