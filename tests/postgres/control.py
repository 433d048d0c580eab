"""Databases that must not pass: their data and their log are of different moments, as if the group had no order.

The early images come from a drill at the second site, so data and log of the
same moment are consistent; what a takeover finds later is, too. Mixed, they
are what a replication without one order across volumes would leave.
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Mapping
from pathlib import Path

from hostagent.cli.demo import devices
from tests.postgres.clients import await_transactions
from tests.postgres.service import VOLUMES
from tests.postgres.story import GROUP, Kind, Story

CHECKPOINTS = 3
TRANSACTIONS = 50


def run_with_controls(story: Story, directory: Path) -> None:
    """A forced takeover with everything that belongs to it, and the mixed databases beside it."""
    row = story.row
    row.attempted += 1
    with story.disaster():
        await_transactions(story.ledger, TRANSACTIONS)
        early = _drill(story, directory / "early")
        for _ in range(CHECKPOINTS):  # the log that the early data needs is used again
            await_transactions(story.ledger, TRANSACTIONS)
            story.service.cluster.run_sql("SELECT pg_switch_wal()")
            story.service.cluster.run_sql("CHECKPOINT")
        await_transactions(story.ledger, TRANSACTIONS)
    report = story.agent(story.standby).take_over(GROUP)
    stores = {name: Path(story.agent(story.standby).volume(name).backing) for name in VOLUMES}
    mixed = {
        "log behind the data": {"data": stores["data"], "log": early["log"]},
        "data behind the log": {"data": early["data"], "log": stores["log"]},
    }
    for name, images in mixed.items():
        found = _what_is_found(story, images, directory / "mixed", report.restored_time_ns)
        row.control(name, bool(found))
        story.tell(f"    control, {name}: {found or 'NOT FOUND'}")
    for image in early.values():
        image.unlink()
    story.arrive(report, Kind.FORCED)
    story.take_back()


def _drill(story: Story, target: Path) -> dict[str, Path]:
    """Images of this moment at the second site, copied out of a drill."""
    target.mkdir()
    agent = story.agent(story.standby)
    drill = agent.start_drill(GROUP)
    images = {}
    for name, device in drill.devices.items():
        images[name] = target / name
        devices.copy_image(Path(device), images[name])
    agent.stop_drill(GROUP)
    return images


def _what_is_found(story: Story, images: Mapping[str, Path], folder: Path, horizon_ns: int) -> str:
    """Start the database on copies of the images; why it is not whole, empty when nothing is found."""
    folder.mkdir()
    copies = {name: folder / name for name in images}
    for name, image in images.items():
        devices.copy_image(image, copies[name])
    service, ledger = story.service, story.ledger
    story.ledger = copy.copy(ledger)
    story.ledger.acknowledged = dict(ledger.acknowledged)
    try:
        service.mount({name: str(path) for name, path in copies.items()}, "-o", "loop")
        service.cluster.start()
        return "; ".join(story.judge(horizon_ns))
    except AssertionError as error:
        return str(error).splitlines()[0][:300]
    finally:
        story.ledger = ledger
        service.cluster.kill()
        service.unmount()
        shutil.rmtree(folder)
