"""What an agent says of the host that it runs on. Shapes only; keys are only ever added."""

from __future__ import annotations

from controller.api.models import Count, Shape


class HostLink(Shape):
    """A network interface of this host."""

    name: str
    up: bool
    addresses: list[str]  # with prefix length


class HostDisk(Shape):
    """A file system that this agent or its controller keeps things in."""

    path: str
    total_bytes: Count
    free_bytes: Count


class HostFacts(Shape):
    """What the agent watches of its host."""

    load: list[float]  # over 1, 5 and 15 minutes
    processors: Count
    memory_available_bytes: Count
    links: list[HostLink]
    disks: list[HostDisk]
