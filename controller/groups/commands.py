"""What can be asked of journal groups. The routes call these and nothing deeper."""

from controller.groups.create import create
from controller.groups.delete import delete
from controller.groups.journal_state import journal_state, wait_moved
from controller.groups.orders import order_copy, order_initial_copy, order_restore
from controller.groups.primary import purge, set_acquisition
from controller.groups.takeover import fence, take_over
from controller.groups.view import show, show_all

__all__ = [
    "create",
    "delete",
    "fence",
    "journal_state",
    "order_copy",
    "order_initial_copy",
    "order_restore",
    "purge",
    "set_acquisition",
    "show",
    "show_all",
    "take_over",
    "wait_moved",
]
