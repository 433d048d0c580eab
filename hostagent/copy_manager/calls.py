"""One call for each action of the copy manager: to the own controller, the other agent, or the store.

Owns the translation alone; `runner.py` gives it whom to call, and takes what comes.
"""

from __future__ import annotations

from collections.abc import Callable

from controller.api.client import ControllerClient
from hostagent.api.models import Pair
from hostagent.copy_manager.actions import (
    Action,
    ExchangeWithPeer,
    OrderClearEpoch,
    OrderCompression,
    OrderCopy,
    OrderDemote,
    OrderFence,
    OrderInitialCopy,
    OrderPromote,
    OrderPurge,
    OrderRestore,
    OrderResume,
    OrderResync,
    OrderRun,
    OrderServe,
    QueryGroup,
    QueryRegions,
    QueryState,
    SavePair,
)
from hostagent.peers import AgentClient


def call(
    action: Action, group: str, controller: ControllerClient, peer: AgentClient, save: Callable[[Pair], Pair]
) -> object:
    """Carry it out; the answer, for the facts."""
    match action:
        case QueryState(after, wait_seconds):
            return controller.state(group, after, wait_seconds)
        case QueryGroup():
            return controller.group(group)
        case ExchangeWithPeer(told):
            return peer.exchange(told)
        case OrderCopy(order):
            return controller.order_copy(group, order)
        case OrderInitialCopy(copy):
            return controller.order_initial_copy(group, copy)
        case OrderRestore(restore):
            return controller.order_restore(group, restore)
        case OrderPurge(purge):
            return controller.purge(group, purge)
        case OrderFence(fence):
            return controller.fence(group, fence)
        case OrderServe(serve):
            return controller.serve(group, serve)
        case OrderCompression(compression):
            return controller.set_compression(group, compression)
        case OrderResume():
            return controller.resume(group)
        case QueryRegions():
            return controller.regions(group)
        case OrderResync(resync):
            return controller.resync(group, resync)
        case OrderClearEpoch(epoch):
            return controller.clear_epoch(group, epoch)
        case OrderRun(run):
            return controller.order_run(group, run)
        case OrderPromote(promote):
            return controller.promote(group, promote)
        case OrderDemote(demote):
            return controller.demote(group, demote)
        case SavePair(pair):
            return save(pair)
