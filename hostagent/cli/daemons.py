"""`pairvol controller run` and `pairvol agent run`: the daemons, in the foreground; `controller stop` ends it all."""

from __future__ import annotations

import gc
import importlib.util
import os
from pathlib import Path
from typing import Annotated

import typer

from controller.errors import UsageError
from controller.lean import importing
from hostagent.cli.session import noun

controller = noun("controller", "The storage controller: volumes, journals, copy and restore.")
agent = noun("agent", "The host agent: pairs, takeover and block devices.")

ConfigFile = Annotated[Path, typer.Option("--config", metavar="FILE", help="Its configuration, a TOML file.")]


@controller.callback()
def _controller() -> None:
    """The storage controller: volumes, journals, copy and restore."""


@agent.callback()
def _agent() -> None:
    """The host agent: pairs, takeover and block devices."""


@controller.command("run")
def run_controller(config: ConfigFile = Path("/etc/pairvol/controller.toml")) -> None:
    """Run the storage controller in the foreground."""
    from controller.tls import set_policy

    if importlib.util.find_spec("nbd") is None:
        raise UsageError(
            "libnbd for Python is not installed",
            hint="Install it (Debian package python3-libnbd), into a virtual environment with --system-site-packages.",
        )
    set_policy()
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy's, which nothing here needs: they cost at the start
    with importing():
        from controller.daemon import run

        gc.freeze()  # it all stays, so no collection need go through it again
    run(config)


@controller.command("stop")
def stop_controller(config: ConfigFile = Path("/etc/pairvol/controller.toml")) -> None:
    """End the controller with every server that it keeps: hosts lose their volumes until it runs again."""
    from controller.config import load
    from controller.stopping import stop_all

    settings = load(config)
    stop_all(settings.state_directory, certificates=settings.certificates)


@agent.command("run")
def run_agent(config: ConfigFile = Path("/etc/pairvol/agent.toml")) -> None:
    """Run the host agent in the foreground."""
    with importing():
        from hostagent.daemon import run

        gc.freeze()
    run(config)
