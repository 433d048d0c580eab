"""A pair made of two controllers without agents: a test plays the agents' part."""

from __future__ import annotations

import uuid
from collections.abc import Mapping

from controller.api.models import (
    CopyMode,
    CopyOrder,
    CopySource,
    CopyState,
    GroupCreate,
    GroupVolume,
    InitialCopyMethod,
    InitialCopyOrder,
    PurgeRequest,
    RestoreMode,
    Role,
)
from tests.support.controllers import ControllerProcess
from tests.support.waiting import wait_until


class ControllerPair:
    """Group `db` over some volumes of one controller, paired with another controller's."""

    group = "db"

    def __init__(
        self,
        primary: ControllerProcess,
        secondary: ControllerProcess,
        volumes: dict[str, int],
        journal_bytes: int | None = None,
        pools: Mapping[str, list[str]] | None = None,
    ) -> None:
        """`pools`: by site, the pool volumes that its journal lies on."""
        pools = pools or {}
        self.primary = primary
        self.secondary = secondary
        members = [GroupVolume(index=i, name=name, size_bytes=size) for i, (name, size) in enumerate(volumes.items())]
        request = GroupCreate(
            name=self.group,
            uuid=str(uuid.uuid4()),
            role=Role.SECONDARY,
            peer_site=primary.site,
            volumes=members,
            journal_bytes=journal_bytes,
            journal_volumes=pools.get(secondary.site, []),
        )
        self.secondary.client.create_group(request)
        mine = {"role": Role.PRIMARY, "peer_site": secondary.site, "journal_volumes": pools.get(primary.site, [])}
        self.request = request.model_copy(update=mine)
        self.primary.client.create_group(self.request)

    def source(self) -> CopySource:
        """What the secondary has to know, as the primary tells it now."""
        group = self.primary.client.group(self.group)
        assert group.links is not None
        return CopySource(
            site=self.primary.site,
            uuid=group.uuid,
            generation=group.generation,
            composition=group.composition,
            links=group.links,
        )

    def order_initial_copy(self, method: InitialCopyMethod = InitialCopyMethod.DIRECT) -> None:
        order = InitialCopyOrder(source=self.source(), method=method)
        self.secondary.client.order_initial_copy(self.group, order)

    def follow(self, restore: RestoreMode = RestoreMode.AT_ONCE, lease_seconds: float = 60.0) -> None:
        """Let the secondary pull from now on."""
        order = CopyOrder(source=self.source(), mode=CopyMode.FOLLOW, restore=restore, lease_seconds=lease_seconds)
        self.secondary.client.order_copy(self.group, order)

    def wait_copied(self) -> None:
        """Wait until the initial copy is done."""

        def done() -> bool:
            state = self.secondary.client.state(self.group)
            assert state.failure is None, state.failure
            assert state.initial_copy.failure is None, state.initial_copy.failure
            return state.initial_copy.state is CopyState.DONE

        wait_until(done, 60, "initial copy to be done")

    def durable(self) -> int:
        return self.primary.client.state(self.group).pointers["durable"].sequence

    def wait_restored(self, sequence: int | None = None) -> int:
        """Wait until the SVOL has everything up to a sequence (None: what is durable now); which that is."""
        wanted = self.durable() if sequence is None else sequence

        def restored() -> bool:
            state = self.secondary.client.state(self.group)
            assert state.failure is None, state.failure
            return state.pointers["already_restored"].sequence >= wanted

        wait_until(restored, 60, f"restore of {wanted}")
        return wanted

    def confirm(self) -> int:
        """Tell the primary what the secondary has."""
        read = self.secondary.client.state(self.group).pointers["already_read"].sequence
        self.primary.client.purge(self.group, PurgeRequest(reader=self.secondary.site, to_sequence=read))
        return read
