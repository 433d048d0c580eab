"""The configuration of a stand-in: an agent of another site inside this one's process (HOSTS.md)."""

from __future__ import annotations

import shutil

from hostagent.config import Config, HookSettings, HostSettings, PeerSettings


def stand_in_config(config: Config, site: str) -> Config:
    """How this agent stands in for `site`: with that site's controller, and this site as its only peer."""
    controller = config.peers[site].controller
    assert controller is not None
    name = config.site if config.host_name == config.site else f"{config.site}.{config.host_name}"
    return config.model_copy(
        update={
            "site": site,
            "host": name,
            "state_directory": config.state_directory / "stand-in" / site,
            "run_directory": None,
            "controller": controller,
            "peers": {config.site: PeerSettings(agent=config.own_address)},
            "hosts": dict[str, HostSettings](),
            "hooks": HookSettings(),
        }
    )


def forget_state(config: Config) -> None:
    """A stand-in knows of pairs only what the controller keeps: what an earlier one wrote down is old."""
    shutil.rmtree(config.state_directory, ignore_errors=True)
