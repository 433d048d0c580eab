"""Refuses to attach at one host what another host of the site has attached for writing.

File systems that two hosts mount at once destroy themselves. A host that does
not answer is not asked twice: it may be gone, and its volumes are needed.
"""

from __future__ import annotations

from contextlib import suppress

from controller.errors import ConflictError, PairvolError
from hostagent.api.models import Attachment
from hostagent.attach.record import METHOD_URI
from hostagent.host import Host


def refuse_attached_elsewhere(host: Host, volume: str) -> None:
    for name, channel in host.hosts.items():
        found: list[Attachment] = []
        with suppress(PairvolError):
            found = channel.call(list[Attachment], "GET", "/attachments")
        for each in found:
            writes = each.method != METHOD_URI and not each.facts.get("readonly")
            if each.volume == volume and writes:
                raise ConflictError(
                    f"cannot attach {volume}: host {name} has it as {each.device}",
                    hint=f'Detach it there first: "pairvol volume detach {volume} --on {name}"; '
                    "or attach it here with --readonly.",
                    volume=volume,
                    host=name,
                )
