"""The configuration file of the storage controller (TOML).

Owns its keys, their defaults and their errors: one line that names the file
and the key, and a hint. Must not touch the disk beyond reading that file.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from controller.addresses import WILDCARDS, Address, check_loopback, parse_listener
from controller.api.models import Name
from controller.durable import hint_for
from controller.errors import NotFoundError, UsageError
from controller.tls import Certificates, TlsSettings
from controller.units import parse_size

RUN_DIRECTORY_BYTES_MAX: Final = 80  # leaves 27 bytes of a socket path for a server's name


class ServerSettings(BaseModel):
    """How nbdkit processes are started."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    nbdkit: str = "nbdkit"
    threads: Annotated[int, Field(ge=1, le=256)] = 16
    start_seconds: Annotated[float, Field(gt=0)] = 60.0  # recovery of a full journal takes its time
    stop_seconds: Annotated[float, Field(gt=0)] = 5.0
    prepared: Annotated[int, Field(ge=0, le=256)] = 4  # kept loaded for groups that may be taken over


class JournalSettings(BaseModel):
    """What a journal group gets when the command does not say."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    full_wait_seconds: Annotated[float, Field(gt=0, le=25)] = 10.0  # kernel clients give up at about 30 s
    throttle_wait_seconds: Annotated[float, Field(gt=0, le=28)] = 25.0  # the same for pairs with --on-full throttle
    size_bytes_min: int = 64 << 20
    size_bytes_max: int = 8 << 30
    share_percent: Annotated[float, Field(gt=0, le=100)] = 10.0
    on_error: Literal["suspend", "fail"] = "suspend"  # what becomes of host writes when the journal's disk refuses

    @field_validator("size_bytes_min", "size_bytes_max", mode="before")
    @classmethod
    def _size(cls, value: Any) -> Any:
        return parse_size(value) if isinstance(value, str) else value

    def default_bytes(self, volumes_bytes: int) -> int:
        """Size of a journal for volumes of that size together, whole MiB."""
        share = int(volumes_bytes * self.share_percent / 100)
        size = max(self.size_bytes_min, min(self.size_bytes_max, share))
        return -(-size // (1 << 20)) * (1 << 20)


class ReturnSettings(BaseModel):
    """Whether, and after which time, a primary that comes back serves hosts without a word of the other site.

    With `alone` a dead second site does not stop the first after a power cut
    of its own; but one that took over behind a cut link is served beside.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    alone: bool = True  # false: never before it is told, by the other site's word or a person
    alone_after_seconds: Annotated[float, Field(ge=0, le=3600)] = 20.0


class Config(BaseModel):
    """Settings of one storage controller."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    site: Name
    tls: TlsSettings | None = None  # of the links to other sites; None: they stay on this machine
    state_directory: Path = Path("/var/lib/pairvol")
    run_directory: Path = Path("/run/pairvol")
    listen: str = ""
    data_address: str = "127.0.0.1"
    advertised_address: str = ""  # where the other site finds the data servers, such as the near end of a tunnel
    servers: ServerSettings = Field(default_factory=ServerSettings)
    journal: JournalSettings = Field(default_factory=JournalSettings)
    serve: ReturnSettings = Field(default_factory=ReturnSettings)

    @property
    def listener(self) -> Address:
        """Where commands are taken: `listen`, else a socket in the run directory."""
        return parse_listener(self.listen or f"unix:{self.run_directory}/controller.sock")

    @field_validator("state_directory", "run_directory")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        if not value.is_absolute():
            raise RefusedValueError(f"{value} is not an absolute path", "Write the path from the root.")
        return value

    @field_validator("run_directory")
    @classmethod
    def _short(cls, value: Path) -> Path:
        length = len(os.fsencode(value))
        if length > RUN_DIRECTORY_BYTES_MAX:
            raise RefusedValueError(
                f"{length} bytes are too long for the sockets in it",
                f"The kernel takes short paths only: at most {RUN_DIRECTORY_BYTES_MAX} bytes, such as /run/pairvol.",
            )
        return value

    @field_validator("listen")
    @classmethod
    def _listener(cls, value: str) -> str:
        if value:
            refusing(parse_listener, value)
        return value

    @property
    def certificates(self) -> Certificates | None:
        return self.tls.certificates if self.tls is not None else None

    @property
    def link_address(self) -> str:
        """The host in the addresses that the other site is told."""
        return self.advertised_address or self.data_address

    @field_validator("data_address", "advertised_address")
    @classmethod
    def _loopback(cls, value: str, info: ValidationInfo) -> str:
        if value and info.data.get("tls") is None:
            refusing(check_loopback, value)
        return value

    @field_validator("data_address")
    @classmethod
    def _given(cls, value: str) -> str:
        if not value:
            raise RefusedValueError("no address is given", "Write 127.0.0.1, or leave the key out.")
        return value

    @model_validator(mode="after")
    def _reachable(self) -> Config:
        if self.link_address in WILDCARDS:
            raise RefusedValueError(
                f"data_address {self.data_address} does not say where the other site finds this one",
                "Add advertised_address, the host in this site's certificate.",
            )
        if self.tls is not None and ":" in self.link_address:
            raise RefusedValueError(
                f"{self.link_address}: the data link cannot be asked for an IPv6 address with TLS",
                "Add advertised_address with a host name for it, and make the certificate for that name.",
            )
        refuse_without(self.tls, self.listener)
        return self


Settings = TypeVar("Settings", bound=BaseModel)


def refuse_without(tls: TlsSettings | None, *addresses: Address) -> None:
    """Refuse addresses that need certificates where none are configured; for use inside validators."""
    for address in addresses:
        if address.tls and tls is None:
            raise RefusedValueError(
                f"{address} needs certificates, and none are named",
                'Add [tls] with directory = "/etc/pairvol/tls"; "pairvol tls create" makes what is in it.',
            )


class RefusedValueError(ValueError):
    """A value that cannot be taken, with a hint; for use inside validators of settings."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def refusing(check: Callable[[str], object], value: str) -> None:
    """Run a check that raises UsageError where pydantic wants a ValueError."""
    try:
        check(value)
    except UsageError as error:
        raise RefusedValueError(error.message, error.hint) from error


def load(path: str | os.PathLike[str]) -> Config:
    """Read and check the configuration file of a storage controller."""
    return load_settings(Config, path)


def load_settings(kind: type[Settings], path: str | os.PathLike[str]) -> Settings:
    """Read and check a TOML file. Every error is one line that names the file and the key."""
    try:
        document = tomllib.loads(Path(path).read_text())
    except FileNotFoundError as error:
        raise NotFoundError(
            f"configuration {path} does not exist", hint="Name an existing file with --config."
        ) from error
    except OSError as error:
        words = os.strerror(error.errno or 0).lower()
        raise UsageError(f"cannot read configuration {path}: {words}", hint=hint_for(error)) from error
    except ValueError as error:  # TOML and UTF-8 errors both are
        raise UsageError(
            f"configuration {path} is not TOML: {_lowered(str(error))}", hint="Mend that line and try again."
        ) from error
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        raise _first(error, f"configuration {path}") from error


def _first(error: ValidationError, source: str) -> UsageError:
    """The first of a list of mistakes, as one line; they are mended one at a time anyway."""
    mistake = error.errors(include_url=False)[0]
    key = ".".join(map(str, mistake["loc"])) or "document"
    cause = mistake.get("ctx", {}).get("error")
    if isinstance(cause, RefusedValueError):
        return UsageError(f"{source}: {key}: {cause}", hint=cause.hint, key=key)
    if mistake["type"] == "extra_forbidden":
        return UsageError(f"{source}: {key}: no such key", hint="Look for a slip of the pen in it.", key=key)
    if mistake["type"] == "missing":
        return UsageError(f"{source}: {key} is missing", hint=f"Add a line such as {key} = ...", key=key)
    return UsageError(f"{source}: {key}: {_lowered(str(mistake['msg']))}", hint="Mend that value.", key=key)


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]
