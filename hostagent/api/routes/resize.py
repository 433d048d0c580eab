"""Journals and volumes of another size: as commands, and what agents ask of each other for them."""

from __future__ import annotations

from controller.api.late import Noun
from controller.api.lifecycle import JournalResize
from controller.api.models import Group, Name, Volume
from hostagent.api.routes.dependencies import Here
from hostagent.api.volumes import JournalSize, JournalSizes, SideResize, VolumeSize, VolumeSizes
from hostagent.commands import resize

noun = Noun(tags=["sizes"])


@noun.post("/journals/{group}/resize")
def journal(host: Here, group: Name, order: JournalSize) -> JournalSizes:
    """Give the journals of a pair, or of one side, another size; hosts write on."""
    return resize.resize_journal(host, group, order)


@noun.post("/peer/journals/{group}/resize", tags=["between agents"])
def journal_side(host: Here, group: Name, order: JournalResize) -> Group:
    """This site's part of it."""
    return resize.resize_own_journal(host, group, order)


@noun.post("/volumes/{name}/resize")
def volume(host: Here, name: Name, order: VolumeSize) -> VolumeSizes:
    """Make a volume larger, at both sites when it is paired."""
    return resize.resize_volume(host, name, order)


@noun.post("/peer/pairs/{group}/resize", tags=["between agents"])
def volume_side(host: Here, group: Name, order: SideResize) -> Volume:
    """This site's part of it."""
    return resize.resize_own_volume(host, group, order)
