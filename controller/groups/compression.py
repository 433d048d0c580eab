"""Whether the other site may read a primary compressed: the relay of a group is there, or is not.

Owns that order. Readers need none to turn: they find the relay in the group's
addresses, and go round one that is gone.
"""

from __future__ import annotations

from controller import plans, serving
from controller.api.models import Compression, CompressionOrder
from controller.appliance import Appliance
from controller.errors import ConflictError
from controller.state import Phase


def set_compression(appliance: Appliance, name: str, order: CompressionOrder) -> None:
    """Start or end the relay of a group that is read here. Given again it changes nothing."""
    with appliance.locks.hold(groups=[name]):
        group = appliance.store.document.group(name)
        if not plans.exports_journal(group) or group.phase is not Phase.READY:
            raise ConflictError(
                f"cannot compress what is read of group {name}: it is {group.role} here ({group.phase})",
                hint="Give this order to the site that holds the primary volumes.",
                group=name,
            )
        if order.compression is group.compression:
            return
        if order.compression is not Compression.NONE and appliance.config.tls is not None:
            raise ConflictError(
                f"cannot compress what is read of group {name}: this site has [tls]",
                hint=f'Links are encrypted or compressed, not both: "pairvol pair set {name} --compress none".',
                group=name,
            )
        with appliance.store.change() as draft:
            draft.group(name).compression = order.compression
        if order.compression is Compression.NONE:
            serving.retire_relay(appliance, name)
        else:
            serving.serve_relay(appliance, appliance.store.document.group(name))
            serving.wait_served(appliance, plans.relay_server(name))
        words = f"group {name} is read with compression {order.compression} from now on"
        appliance.events.emit("info", "group.compression", words, {"compression": order.compression}, group=name)
