"""The configuration file of the host agent (TOML).

Owns its keys, their defaults and their errors. Every listener, the controller
and every peer must be on loopback or a Unix socket, or be spoken to with
certificates at both ends (https://): an agent obeys whoever reaches it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from controller.addresses import Address, callable_address, parse_listener
from controller.api.models import Name
from controller.config import RefusedValueError, load_settings, refuse_without, refusing
from controller.tls import Certificates, TlsSettings

Seconds = Annotated[float, Field(gt=0, le=3600)]
Percent = Annotated[float, Field(gt=0, lt=100)]


class PeerSettings(BaseModel):
    """Where another site's agents are reached, and its controller, to stand in for them (hostagent/hosts/HOSTS.md)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    agent: str
    other_agents: list[str] = Field(default_factory=list)  # of further hosts of that site
    controller: str | None = None

    @field_validator("agent", "controller")
    @classmethod
    def _local(cls, value: str | None) -> str | None:
        if value is not None:
            refusing(parse_listener, value)
        return value

    @field_validator("other_agents")
    @classmethod
    def _all_local(cls, value: list[str]) -> list[str]:
        for address in value:
            refusing(parse_listener, address)
        return value


class HostSettings(BaseModel):
    """Where the agent of another host of this site is reached."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    agent: str

    @field_validator("agent")
    @classmethod
    def _local(cls, value: str) -> str:
        refusing(parse_listener, value)
        return value


class CopySettings(BaseModel):
    """Pace and thresholds of the copy manager, for all pairs of this agent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    beat_seconds: Seconds = 1.0  # between exchanges while journals are on their way
    idle_beat_seconds: Seconds = 2.0  # the longest silence between two agents
    fast_beat_seconds: Seconds = 0.1  # while the primary's journal fills
    lease_seconds: Seconds = 10.0  # how long a copy order lasts without renewal
    driver_seconds: Seconds = 6.0  # how long a host drives a pair without a word before another may
    unknown_after_seconds: Seconds = 4.5  # a peer that is silent for longer is unknown
    high_water_percent: Percent = 80.0
    lag_warn_seconds: Seconds = 30.0


class HookSettings(BaseModel):
    """The user's commands around a moment that is to be consistent for applications."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    before: list[str] = Field(default_factory=list)
    after: list[str] = Field(default_factory=list)
    timeout_seconds: Annotated[float, Field(gt=0, le=25)] = 10.0  # of each stage, and of a freeze


class DrillSettings(BaseModel):
    """Drills that this agent opens."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    confirm_seconds: Seconds = 60.0  # one that nobody has confirmed after that, and nobody uses, is ended


class Config(BaseModel):
    """Settings of one host agent."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    site: Name
    host: Name | None = None  # this host among those of the site; default: the site's name
    state_directory: Path = Path("/var/lib/pairvol-agent")
    run_directory: Path | None = None  # mount points of block devices; default: state_directory/run
    listen: list[str] = Field(default=["unix:/run/pairvol/agent.sock"], min_length=1)
    controller: str = "unix:/run/pairvol/controller.sock"
    peers: dict[Name, PeerSettings] = Field(default_factory=dict)
    hooks: HookSettings = Field(default_factory=HookSettings)
    hosts: dict[Name, HostSettings] = Field(default_factory=dict)  # the other hosts at the same controller
    copying: CopySettings = Field(default_factory=CopySettings, alias="copy")
    drill: DrillSettings = Field(default_factory=DrillSettings)
    tls: TlsSettings | None = None  # what https:// addresses are spoken with

    @property
    def listeners(self) -> list[Address]:
        return [parse_listener(address) for address in self.listen]

    @property
    def own_address(self) -> str:
        """Where this agent is called from this machine."""
        return callable_address(self.listen[0])

    @property
    def certificates(self) -> Certificates | None:
        return self.tls.certificates if self.tls is not None else None

    @property
    def host_name(self) -> str:
        return self.host or self.site

    @property
    def mount_directory(self) -> Path:
        """Holds a directory for each volume attached through FUSE."""
        return self.run_directory or self.state_directory / "run"

    @field_validator("state_directory", "run_directory")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_absolute():
            raise RefusedValueError(f"{value} is not an absolute path", "Write the path from the root.")
        return value

    @field_validator("listen", mode="before")
    @classmethod
    def _list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("listen")
    @classmethod
    def _listeners(cls, value: list[str]) -> list[str]:
        for address in value:
            refusing(parse_listener, address)
        return value

    @field_validator("controller")
    @classmethod
    def _local(cls, value: str) -> str:
        refusing(parse_listener, value)
        return value

    @model_validator(mode="after")
    def _others(self) -> Config:
        if self.site in self.peers:
            raise RefusedValueError(f"peers.{self.site} is this site itself", "Name only the other sites.")
        if self.host_name in self.hosts:
            raise RefusedValueError(f"hosts.{self.host_name} is this host itself", "Name only the other hosts.")
        called = [self.controller, *(each.agent for each in self.hosts.values())]
        for peer in self.peers.values():
            called += [peer.agent, *peer.other_agents, *([peer.controller] if peer.controller else [])]
        refuse_without(self.tls, *self.listeners, *map(parse_listener, called))
        return self


def load(path: str | os.PathLike[str]) -> Config:
    """Read and check the configuration file of a host agent."""
    return load_settings(Config, path)
