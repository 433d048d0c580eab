"""What every command shares: which agent, which form of output, and how a verb is declared.

Owns the options --agent, --config and --json and the choice of the agent's
address. Must not know what any command does. The client and the models are
imported when first used: `--help` must not wait for them.
"""

from __future__ import annotations

import inspect
import json
import os
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer

from controller.addresses import callable_address, parse_address
from controller.durable import hint_for
from controller.errors import NotFoundError, UsageError
from controller.lean import importing

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

    from controller.tls import Certificates
    from hostagent.client import Agent

ENVIRONMENT: Final = "PAIRVOL_AGENT"
TLS_ENVIRONMENT: Final = "PAIRVOL_TLS"
CONFIGURATION: Final = Path("/etc/pairvol/agent.toml")

AgentOption = Annotated[
    str | None,
    typer.Option("--agent", metavar="URL|unix:PATH", help=f"The host agent to talk to, instead of {ENVIRONMENT}."),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="The agent's configuration file; its address is used."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print data as JSON.")]

Verb = TypeVar("Verb", bound=Callable[..., Any])
Order = TypeVar("Order", bound="BaseModel")


@dataclass
class Session:
    """One run of one command."""

    agent_address: str | None = None
    config: Path | None = None
    json: bool = False

    @cached_property
    def agent(self) -> Agent:
        """The client of the chosen agent."""
        with importing():
            from hostagent.client import Agent

        return Agent(self.address, self.certificates)

    @property
    def certificates(self) -> Certificates | None:
        """What an https:// address is spoken to with: PAIRVOL_TLS, else [tls] of the configuration."""
        if named := os.environ.get(TLS_ENVIRONMENT):
            directory: str | None = named
        else:
            path = self.config or (CONFIGURATION if CONFIGURATION.exists() else None)
            directory = tls_directory(path) if path is not None else None
        if directory is None:
            return None
        from controller.tls import Certificates

        return Certificates(Path(directory))

    @property
    def address(self) -> str | None:
        """--agent, else --config, else PAIRVOL_AGENT, else the installed configuration, else the client's default."""
        if self.agent_address:
            return checked_address(self.agent_address)
        if self.config is not None:
            return listen_address(self.config)
        if named := os.environ.get(ENVIRONMENT):
            return checked_address(named)
        return listen_address(CONFIGURATION) if CONFIGURATION.exists() else None

    def close(self) -> None:
        """Close the client, if one was needed."""
        if "agent" in self.__dict__:
            self.agent.close()

    def show(self, data: BaseModel | Iterable[BaseModel], text: Callable[[], str]) -> None:
        """Print `data` as JSON when that was asked for, else what `text` makes of it."""
        if self.json:
            print_json(data)
        else:
            typer.echo(text())


def print_json(data: Any) -> None:
    """One JSON document on standard output."""
    typer.echo(json.dumps(plain(data), indent=2))


def plain(data: Any) -> Any:
    """JSON-ready form of models, and of lists and dicts that hold them."""
    if hasattr(data, "model_dump"):
        return data.model_dump(mode="json")
    if isinstance(data, dict):
        return {key: plain(value) for key, value in data.items()}
    if isinstance(data, (str, int, float, type(None))):
        return data
    return [plain(item) for item in data]


def checked_address(text: str) -> str:
    """An agent's address as the client takes it; a bare HOST:PORT is HTTP."""
    if text.startswith("unix:/"):
        return text
    if text.startswith("/"):
        return f"unix:{text}"
    try:
        if text.startswith(("http://", "https://")):
            parse_address(text)
            return text
        if "/" not in text:
            return parse_address(text).url
    except UsageError:
        pass
    raise UsageError(
        f"{text!r} is not an agent's address",
        hint="Write it as https://tokyo.example:7811, 127.0.0.1:7811 or unix:/run/pairvol/agent.sock.",
    )


def listen_address(path: Path) -> str | None:
    """Where the agent configured by `path` listens; None when it leaves that to the default."""
    listen = _configured(path).get("listen")
    if isinstance(listen, list):  # an agent may listen at several addresses
        listen = listen[0] if listen else None
    return callable_address(checked_address(str(listen))) if listen else None


def tls_directory(path: Path) -> str | None:
    """Where a daemon configured by `path` has its certificates."""
    tls = _configured(path).get("tls")
    directory = tls.get("directory") if isinstance(tls, dict) else None
    return str(directory) if directory else None


def _configured(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise NotFoundError(f"configuration file {path} does not exist", hint="Check --config.") from None
    except OSError as error:
        words = os.strerror(error.errno or 0).lower()
        raise UsageError(f"cannot read configuration {path}: {words}", hint=hint_for(error)) from None
    except ValueError as error:  # TOML and UTF-8 errors both are
        words = str(error)
        raise UsageError(
            f"configuration {path} is not TOML: {words[:1].lower()}{words[1:]}", hint="Mend that line and try again."
        ) from None


OPTIONS: Final = {  # of an order's part, where it is not called as the option is
    "group": "GROUP",
    "name": "NAME",
    "volume": "NAME",
    "size_bytes": "SIZE",
    "journal_bytes": "--journal-size",
    "secondary_journal_bytes": "--secondary-journal-size",
    "journal_volumes": "--journal",
    "secondary_journal_volumes": "--secondary-journal",
    "volumes": "VOL",
    "trigger": "--copy",
    "schedule_seconds": "--every",
    "fill_percent": "--fill",
    "limit_bytes_per_second": "--limit",
    "compression": "--compress",
    "wait_seconds": "--wait",
    "check_seconds": "--timeout",
}


def validated(shape: type[Order], **values: Any) -> Order:
    """An order made of what was typed; what the shape refuses is wrong usage, named by its option."""
    from pydantic import ValidationError

    try:
        return shape(**values)
    except ValidationError as error:
        raise wrong_usage(error) from None


def wrong_usage(error: ValidationError) -> UsageError:
    """What a shape refused of that which was typed."""
    from controller.api.shape import NAME, NAME_HINT

    first = error.errors()[0]
    part = next((part for part in first["loc"] if isinstance(part, str) and part != "policy"), "word")
    option = OPTIONS.get(part, f"--{part.replace('_', '-')}")
    if first.get("ctx", {}).get("pattern") == NAME.pattern:
        return UsageError(f"{first['input']!r} is not a name, as {option} must be", hint=NAME_HINT)
    words = first["msg"].lower().replace("_", "-")  # as the option's words are written
    return UsageError(f"{first['input']!r} is not a valid {option}: {words}", hint="Correct it; nothing was done.")


def verb(app: typer.Typer, name: str, *, data: bool = True) -> Callable[[Verb], Verb]:
    """Declare a command whose first parameter is its Session.

    The options that choose the agent, and --json when it prints data, are
    added here; what was given before the noun (`pairvol --agent X pair list`)
    counts unless the command itself says otherwise.
    """

    def register(function: Verb) -> Verb:
        signature = inspect.signature(function, eval_str=True)
        added: list[tuple[str, Any, Any]] = [("agent", AgentOption, None), ("config", ConfigOption, None)]
        if data:
            added.append(("json", JsonOption, False))
        parameters = list(signature.parameters.values())[1:]
        parameters += [
            inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
            for key, annotation, default in added
        ]
        context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)

        def run(context: typer.Context, **values: Any) -> Any:
            session: Session = context.find_root().obj or Session()
            session.agent_address = values.pop("agent") or session.agent_address
            session.config = values.pop("config") or session.config
            session.json = values.pop("json", False) or session.json
            try:
                return function(session, **values)
            finally:
                session.close()

        everything = [context, *parameters]
        run.__signature__ = signature.replace(parameters=everything)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in everything}
        run.__doc__ = function.__doc__
        run.__name__ = function.__name__
        app.command(name)(run)
        return function

    return register


def noun(name: str, help_text: str) -> typer.Typer:
    """A group of verbs."""
    return typer.Typer(name=name, help=help_text, no_args_is_help=True, rich_markup_mode="rich")
