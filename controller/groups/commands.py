"""What can be asked of journal groups. The routes call these and nothing deeper."""

from controller.groups.compression import set_compression
from controller.groups.create import create
from controller.groups.delete import check as check_deletion
from controller.groups.delete import delete
from controller.groups.demote import demote
from controller.groups.fence import fence, serve
from controller.groups.journal_size import resize as resize_journal
from controller.groups.journal_state import journal_state, wait_moved
from controller.groups.marks import listed as list_markers
from controller.groups.marks import note_suspension
from controller.groups.marks import put as put_marker
from controller.groups.members import join, leave
from controller.groups.orders import order_copy, order_initial_copy, order_restore, order_resync, set_restore_end
from controller.groups.orphans import drop as drop_orphan
from controller.groups.orphans import listed as list_orphans
from controller.groups.primary import purge, set_acquisition
from controller.groups.promote import promote
from controller.groups.runs import order_run
from controller.groups.split import split
from controller.groups.suspension import changed_regions, clear_epoch, resume, suspend
from controller.groups.takeover import take_over
from controller.groups.view import show, show_all

__all__ = [
    "changed_regions",
    "check_deletion",
    "clear_epoch",
    "create",
    "delete",
    "demote",
    "drop_orphan",
    "fence",
    "join",
    "journal_state",
    "leave",
    "list_markers",
    "list_orphans",
    "note_suspension",
    "order_copy",
    "order_initial_copy",
    "order_restore",
    "order_resync",
    "order_run",
    "promote",
    "purge",
    "put_marker",
    "resize_journal",
    "resume",
    "serve",
    "set_acquisition",
    "set_compression",
    "set_restore_end",
    "show",
    "show_all",
    "split",
    "suspend",
    "take_over",
    "wait_moved",
]
