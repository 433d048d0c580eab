"""The volumes that a journal of several is made of: the document that names them, and the label that each carries.

FORMAT.md, "Journal of several volumes". Knows nothing of what a journal holds.
"""

from __future__ import annotations

import json
import os
import struct
import uuid
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from controller.checksum import crc32c
from controller.errors import IntegrityError
from controller.journal.layout import Header
from controller.journal.maps import Span
from controller.journal.store import SET_MAGIC

LABEL_BYTES: Final = 4096
LABEL_MAGIC: Final = b"PVOLJMBR"
MEMBERS_MAX: Final = 64
LABEL_FIELDS: Final = (
    ("magic", "8s"),
    ("version", "I"),
    ("index", "H"),
    ("count", "H"),
    ("journal_uuid", "16s"),
    ("group_uuid", "16s"),
    ("size_bytes", "Q"),
)
_LABEL: Final = struct.Struct("<" + "".join(code for _, code in LABEL_FIELDS))
_CRC: Final = struct.Struct("<I")


class Member(NamedTuple):
    path: str
    size_bytes: int  # of it that is used, its label included


def spans_of(members: Sequence[Member]) -> list[Span]:
    """Where each run of the journal lies; the first member has no label but the header."""
    found, start = list[Span](), 0
    for number, member in enumerate(members):
        offset = LABEL_BYTES if number else 0
        found.append(Span(start, number, offset, member.size_bytes - offset))
        start += member.size_bytes - offset
    return found


def members_of(path: str) -> list[Member] | None:
    """The members of the journal that a document stands for; None for a journal on one volume."""
    with open(path, "rb") as file:
        if file.read(len(SET_MAGIC)) != SET_MAGIC:
            return None
        return parse_document(file.read(), path)[1]


def parse_document(document: bytes, path: str) -> tuple[str, list[Member]]:
    """The journal's uuid and its members; IntegrityError when the document names none."""
    try:
        content: dict[str, Any] = json.loads(document)
        members = [Member(str(each["path"]), int(each["size_bytes"])) for each in content["members"]]
        return str(content["journal_uuid"]), members
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(
            f"document {path} does not name the volumes of a journal: {error!r}",
            hint="Put a copy of that file back; nothing was changed.",
            path=path,
        ) from error


def label(header: Header, number: int, members: Sequence[Member]) -> bytes:
    """What the first bytes of a member other than the first are."""
    body = _LABEL.pack(
        LABEL_MAGIC,
        1,
        number,
        len(members),
        uuid.UUID(header.journal_uuid).bytes,
        uuid.UUID(header.group_uuid).bytes,
        members[number].size_bytes,
    ).ljust(LABEL_BYTES - 4, b"\0")
    return body + _CRC.pack(crc32c(body))


def check_label(file: int, member: Member, header: Header, number: int, members: Sequence[Member]) -> None:
    """IntegrityError unless the open member is that one of this journal."""
    found = os.pread(file, LABEL_BYTES, 0)
    if found == label(header, number, members):
        return
    whole = len(found) == LABEL_BYTES and _CRC.unpack_from(found, LABEL_BYTES - 4)[0] == crc32c(found[:-4])
    words = "carries no label of a journal volume"
    if whole and found.startswith(LABEL_MAGIC):
        _, _, is_number, count, *_ = _LABEL.unpack_from(found)
        words = f"is number {is_number} of {count} of a journal, wanted is {number} of {len(members)} of this one"
    raise IntegrityError(
        f"journal volume {member.path} {words}",
        hint="Put the right volumes back in their places; nothing was changed.",
        path=member.path,
    )


def refuse_foreign(member: Member, found: str, wanted: str) -> None:
    """IntegrityError unless the journal on a member is the wanted one, by their uuids."""
    if found != wanted:
        raise IntegrityError(
            f"journal volume {member.path} belongs to journal {found}, not to {wanted}",
            hint="Put the right volumes back in their places; nothing was changed.",
            path=member.path,
        )
