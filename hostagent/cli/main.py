"""The program `pairvol`: its nouns and verbs, and the boundary where errors become exit codes.

Owns the assembly of the commands and the form of error messages. Every module
it imports is cheap to import; what is heavy is imported by the command that
needs it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, NoReturn, cast

import typer

from controller.errors import PairvolError
from hostagent.cli import check, daemons, demo_command, drill, events, journal, marker, pair, pool, tls, top, volume
from hostagent.cli import giving_up as giving_up  # adds its verbs to `pair`
from hostagent.cli import life as life  # and these
from hostagent.cli import members as members  # and these
from hostagent.cli import policy as policy  # and this
from hostagent.cli import resize as resize  # and these to `journal` and `volume`
from hostagent.cli import verify as verify  # and this to `pair`
from hostagent.cli.session import ENVIRONMENT, AgentOption, ConfigOption, JsonOption, Session, wrong_usage

if TYPE_CHECKING:
    from pydantic import ValidationError

INTERRUPTED = 130
SYSTEM_FOLDERS = ("/usr/sbin", "/sbin")

app = typer.Typer(
    name="pairvol",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    epilog=f"The agent is chosen by --agent, --config or {ENVIRONMENT}. "
    "Exit codes: 0 done or OK, 1 warning, 2 critical or wrong usage, 10 not found, 20 conflict, "
    "30 capacity, 40 integrity, 50 peer unreachable or timed out.",
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"pairvol {version('pairvol')}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    agent: AgentOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Print the version.")
    ] = False,
) -> None:
    """Block replication for Linux: two sites, one write order, takeover in seconds."""
    context.obj = Session(agent, config, json)


demo_command.register(app)
for part in (pair, volume, journal, marker, drill, pool, tls):
    app.add_typer(part.app)
events.register(app)
top.register(app)
check.register(app)
for daemon in (daemons.controller, daemons.agent):
    app.add_typer(daemon)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command and end the process with its exit code."""
    os.environ["PATH"] = with_system_programs(os.environ.get("PATH", os.defpath))
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def with_system_programs(path: str) -> str:
    """A search path that ends in the folders of losetup and mkfs, which root has not after a plain `su`."""
    folders = path.split(":")
    return ":".join(folders + [folder for folder in SYSTEM_FOLDERS if folder not in folders])


def run(arguments: Sequence[str]) -> int:
    """Run one command; errors that a person is meant to read end here, on standard error."""
    try:
        return int(app(list(arguments), prog_name="pairvol", standalone_mode=False) or 0)
    except PairvolError as error:
        return _report(error.message, error.hint, error.exit_code)
    except typer.TyperException as error:
        return _report_usage(error)
    except ValueError as error:
        if type(error).__name__ != "ValidationError" or "pydantic" not in sys.modules:
            raise
        wrong = wrong_usage(cast("ValidationError", error))  # an order that the client made of what was typed
        return _report(wrong.message, wrong.hint, wrong.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (head, less) has seen enough; Python must not complain when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _report(message: str, hint: str, code: int) -> int:
    typer.echo(f"pairvol: {message}", err=True)
    if hint:
        typer.echo(f"HINT: {hint}", err=True)
    return code


def _report_usage(error: typer.TyperException) -> int:
    """Wrong usage: one line in our grammar, then where to read more."""
    message = error.format_message().strip().rstrip(".")
    if not message or "\n" in message:  # the help itself, shown because nothing was asked for
        typer.echo(message, err=True)
        return error.exit_code
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "pairvol"
    return _report(message[0].lower() + message[1:], f'Read "{command} --help".', error.exit_code)


if __name__ == "__main__":
    main()
