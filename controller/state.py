"""The controller's state: one document, durable before any command is answered.

Owns the shapes of `state.json` and their replacement; decides nothing and
starts nothing. The document that `StateStore.document` returns is never
changed: a change makes a new one, writes it durably and only then shows it.

Commands of several steps write their intent (`phase`) first; STATE.md lists,
for a crash between any two steps, what the next start finds and does.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Final, NoReturn

from pydantic import Field, ValidationError

from controller import durable
from controller.api.drills import Drill
from controller.api.lifecycle import Orphan
from controller.api.models import Composition, Compression, GroupVolume, Name, OnFull, Position, Role, Shape, SplitMode
from controller.errors import ConflictError, IntegrityError, NotDurableError, NotFoundError, StorageError

VERSION: Final = 1  # of state.json


class Phase(StrEnum):
    """Which command a thing is in the middle of."""

    CREATING = "creating"
    READY = "ready"
    DELETING = "deleting"
    TAKING_OVER = "taking_over"
    DEMOTING = "demoting"


class Way(StrEnum):
    """How the volumes of a secondary come to a state that hosts can use."""

    RESTORE = "restore"  # every journal that is here
    FORCED = "forced"  # as far as restore may go
    SAFE_POINT = "safe_point"  # back to where the resync began
    STAND = "stand"  # as they are: hosts write to them


class Demotion(Shape):
    """A demotion under way."""

    generation: int
    base: Position  # everything up to here is at the new primary
    covered_sequence: int
    peer_site: Name
    judged: bool = False  # orphan tail and changed regions are recorded; the journal may go


class JournalMove(Shape):
    """A journal on its way to another volume; it is there when the journal in use has that uuid."""

    journal_bytes: int
    pool: Name | None = None
    members: list[Name] = Field(default_factory=list)  # pool volumes, when there are several
    path: str | None = None  # of the pool volume; None: a file in the group's directory
    journal_uuid: str | None = None  # known when it is laid out


class VolumeRecord(Shape):
    name: Name
    uuid: str
    size_bytes: int
    backing: str
    owned: bool  # we made the backing store, so deleting the volume removes it
    next_size_bytes: int | None = None  # it is growing
    server: str | None = None  # id of its own server, when that is not v-NAME
    phase: Phase = Phase.READY


class PoolRecord(Shape):
    name: Name
    path: str
    size_bytes: int
    owned: bool
    phase: Phase = Phase.READY


class GroupRecord(Shape):
    name: Name
    uuid: str
    role: Role
    generation: int
    peer_site: Name
    volumes: list[GroupVolume]
    journal_path: str
    journal_bytes: int
    journal_pool: Name | None = None  # the pool volume that holds the journal
    journal_members: list[Name] = Field(default_factory=list)  # the pool volumes, when it is made of several
    journal_visible: bool = False
    on_full: OnFull = OnFull.SUSPEND
    acquisition: bool = False
    gap_sequence: int | None = None  # acquisition was off just before this journal
    journal_port: int | None = None
    volume_port: int | None = None
    compression: Compression = Compression.NONE  # of what the other site reads
    relay_port: int | None = None
    readers: list[str] = Field(default_factory=list)  # sites whose confirmation frees space
    composition: Composition | None = None  # of the journal; known when it is laid out
    server: str | None = None  # id of the volume server; kept while volumes join and leave
    joining: list[GroupVolume] = Field(default_factory=list)  # volumes on their way in
    leaving: list[GroupVolume] = Field(default_factory=list)  # and out
    retired: dict[int, int] = Field(default_factory=dict)  # index: newest journal that may speak of a volume that left
    phase: Phase = Phase.READY
    made_volumes: list[str] = Field(default_factory=list)  # by this creation; its undo removes them
    next_generation: int | None = None  # of the takeover under way
    way: Way | None = None  # of the takeover under way
    demotion: Demotion | None = None
    orphans: list[Orphan] = Field(default_factory=list)
    split: SplitMode = SplitMode.OFF
    journal_move: JournalMove | None = None  # under way
    drills: list[Drill] = Field(default_factory=list)  # open ones: restore waits
    quiesced: bool = False  # writes are refused for a planned takeover
    yields_to: int | None = None  # that takeover's generation
    fenced_by: int | None = None  # generation that exists elsewhere
    fence_reason: str = ""

    @property
    def pool_volumes(self) -> set[str]:
        """Those that hold its journal or a kept tail."""
        names = [self.journal_pool, *self.journal_members]
        if self.journal_move is not None:
            names += [self.journal_move.pool, *self.journal_move.members]
        for orphan in self.orphans:
            names += [orphan.pool, *orphan.members]
        return {name for name in names if name is not None}


class StateDocument(Shape):
    version: int = VERSION
    site: Name
    volumes: dict[str, VolumeRecord] = Field(default_factory=dict)
    pool: dict[str, PoolRecord] = Field(default_factory=dict)
    groups: dict[str, GroupRecord] = Field(default_factory=dict)

    def volume(self, name: str) -> VolumeRecord:
        found = self.volumes.get(name)
        if found is None:
            raise NotFoundError(
                f"volume {name} does not exist at {self.site}",
                hint='See "pairvol volume list".',
                volume=name,
            )
        return found

    def group(self, name: str) -> GroupRecord:
        found = self.groups.get(name)
        if found is None:
            raise NotFoundError(
                f"group {name} does not exist at {self.site}", hint='See "pairvol pair list".', group=name
            )
        return found

    def pool_volume(self, name: str) -> PoolRecord:
        found = self.pool.get(name)
        if found is None:
            raise NotFoundError(
                f"pool volume {name} does not exist at {self.site}", hint='See "pairvol pool list".', pool=name
            )
        return found

    def group_of(self, volume: str) -> GroupRecord | None:
        """The group that a volume is in."""
        for group in self.groups.values():
            if any(member.name == volume for member in (*group.volumes, *group.joining)):
                return group
        return None

    def pool_user(self, pool_volume: str) -> GroupRecord | None:
        """The group whose journal lies on a pool volume."""
        return next((group for group in self.groups.values() if pool_volume in group.pool_volumes), None)

    def ports(self) -> set[int]:
        """TCP ports given to servers."""
        found = {
            port for group in self.groups.values() for port in (group.journal_port, group.volume_port, group.relay_port)
        }
        return {port for port in found if port is not None}


class StateStore:
    """Holds the document. Any thread may read and change; changes are one at a time."""

    def __init__(self, path: Path, document: StateDocument) -> None:
        self._path = path
        self._document = document
        self._lock = threading.RLock()

    @classmethod
    def open(cls, path: Path, site: str) -> StateStore:
        """Load the document, or begin one. A damaged or foreign one is refused and left as it is."""
        try:
            content = durable.read_json(path)
        except NotFoundError:
            return cls(path, StateDocument(site=site))
        version = content.get("version") if isinstance(content, dict) else None
        if version != VERSION:
            raise IntegrityError(
                f"state {path} is of format version {version}, this program reads version {VERSION}",
                hint="Nothing was changed; run the version of pairvol that wrote it.",
                path=str(path),
            )
        try:
            document = StateDocument.model_validate(content)
        except ValidationError as error:
            mistake = error.errors(include_url=False)[0]
            raise IntegrityError(
                f"state {path} cannot be understood at {'.'.join(map(str, mistake['loc']))}: {mistake['msg']}",
                hint="Nothing was changed; was it written by a newer version?",
                path=str(path),
            ) from error
        if document.site != site:
            raise ConflictError(
                f"state {path} belongs to site {document.site}, not to {site}",
                hint="Set site to that name, or choose another state_directory.",
                path=str(path),
            )
        return cls(path, document)

    @property
    def document(self) -> StateDocument:
        """The newest durable document; not to be changed."""
        return self._document

    @contextmanager
    def change(self) -> Iterator[StateDocument]:
        """A copy to change; on leaving it is durable and shown, on an error dropped.

        NotDurableError: which of the two a power cut leaves is not known; the
        document shown is the one that a restart without one takes up.
        """
        with self._lock:
            draft = self._document.model_copy(deep=True)
            yield draft
            if draft != self._document:
                try:
                    self._write(draft)
                except NotDurableError as error:
                    self._put_back(draft, error)
                self._document = draft

    def _write(self, document: StateDocument) -> None:
        durable.write_json(self._path, document.model_dump(mode="json"))

    def _put_back(self, draft: StateDocument, error: NotDurableError) -> NoReturn:
        """The draft has the name, and may not be there after a power cut: it is refused, so it must not be there.

        Putting the document before it back is another rename, and another
        sync, that tell whether that one is durable.
        """
        try:
            self._write(self._document)
        except NotDurableError:
            raise error from None  # it has its name again, and no more is known
        except StorageError:
            self._document = draft
            raise error from None
        assert isinstance(error.__cause__, OSError)
        raise durable.refused(self._path, error.__cause__) from error
