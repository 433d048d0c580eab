"""Drills that are open, and whose opening nobody has confirmed: spoken for while this agent lives, then ended.

Whoever asks for a drill confirms it when it has the answer. Until then the
drill may be known to nobody (the command, or an agent on the way, died), and
holds restore back. Its agent renews its lease at the controller, and ends it
when it was ready for `confirm_seconds` without that, unless somebody uses a
device of it. When the agent dies, its next run ends it at once; when none
comes, the controller does, after LEASE_SECONDS.

One thread for each such drill, which ends with the drill's being confirmed or
over; devices of one that is over are let go of.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import Final

from controller.api.drills import Drill, DrillState
from controller.errors import NotFoundError, PairvolError
from hostagent.host import Host

LEASE_SECONDS: Final = 60.0
RENEW_SECONDS: Final = 5.0
UNDER_WAY: Final = (DrillState.STARTING, DrillState.OPEN)


class Unconfirmed:
    """One drill, opened by this run of the agent or by an earlier one, until it is confirmed or over."""

    def __init__(self, host: Host, drill: Drill) -> None:
        self._host = host
        self._drill = drill
        self._until: float | None = None  # time.monotonic(); None: its start is under way
        self._changed = threading.Event()
        threading.Thread(target=self._keep, name=f"drill {drill.number}", daemon=True).start()

    def ready(self, seconds: float) -> None:
        """The answer is on its way: so much time is left to confirm the drill."""
        self._until = time.monotonic() + seconds
        self._changed.set()

    def _keep(self) -> None:
        while True:
            with suppress(PairvolError):  # asked again; meanwhile the lease runs
                if not self._open():
                    break
            self._changed.clear()
            left = RENEW_SECONDS if self._until is None else self._until - time.monotonic()
            self._changed.wait(min(max(left, RENEW_SECONDS / 10), RENEW_SECONDS))
        if self._drill.state not in UNDER_WAY:
            release(self._host, self._drill)

    def _open(self) -> bool:
        """Renew the lease, or end the drill; whether it is open and unconfirmed still."""
        host, drill = self._host, self._drill
        if self._until is not None and time.monotonic() >= self._until and not in_use(host, drill):
            self._drill = host.controller.stop_drill(drill.group, drill.number, unconfirmed=True)
            if self._drill.state not in UNDER_WAY:
                words = f"drill {drill.number} of {drill.group} ended: nobody confirmed that it is open"
                host.events.emit("warning", "drill.unconfirmed", words, {"number": drill.number}, group=drill.group)
        else:
            self._drill = host.controller.renew_drill(drill.group, drill.number)
        return self._drill.state in UNDER_WAY and self._drill.lease_seconds is not None


def end_unfinished(host: Host, group: str | None = None) -> None:
    """End drills that an earlier run of this host's agent left unconfirmed, and let go of devices of those over.

    One whose devices are in use is ended when they are not any more.
    """
    with suppress(PairvolError):  # a controller that does not answer is asked again at the next drill
        for drill in host.controller.drills(group):
            if drill.state not in UNDER_WAY:
                release(host, drill)
                continue
            opener, _, run = drill.opener.rpartition("/")
            begun = drill.lease_seconds is not None or not drill.attached
            if not begun or opener != host.config.host_name or run == host.run:
                continue
            if in_use(host, drill):
                Unconfirmed(host, drill).ready(0.0)
                continue
            with suppress(PairvolError):
                release(host, drill)
                host.controller.stop_drill(drill.group, drill.number)
                words = f"drill {drill.number} of {drill.group} ended: the agent ended while it was started"
                host.events.emit("warning", "drill.unfinished", words, {"number": drill.number}, group=drill.group)


def in_use(host: Host, drill: Drill) -> bool:
    """Whether a device of its images is mounted, or built upon, at this host."""
    try:
        for image in drill.images:
            host.devices.refuse_used(image.attachment)
    except PairvolError:
        return True
    return False


def release(host: Host, drill: Drill) -> None:
    """Let go of those of its devices that nobody uses."""
    for image in drill.images:
        with suppress(NotFoundError, PairvolError):
            host.devices.detach(image.attachment)
