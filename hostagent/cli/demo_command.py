"""`pairvol demo`: the main job on this machine, with a verdict."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from controller.units import parse_size

FAILED = 2
BEGINNING = "Two sites on this machine: tokyo writes, osaka follows, tokyo gets killed.\n"

DirectoryOption = Annotated[
    Path | None,
    typer.Option("--dir", metavar="DIR", help="Where the sites live; a new directory in /var/tmp otherwise."),
]


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("demo")(demo)


def demo(
    context: typer.Context,
    directory: DirectoryOption = None,
    size: Annotated[str, typer.Option(metavar="SIZE", help="Size of the PVOL.")] = "1G",
    keep: Annotated[bool, typer.Option("--keep", help="Leave both sites running and say what to try next.")] = False,
    stop: Annotated[bool, typer.Option("--stop", help="End and remove what --keep left.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print verdict, checks and figures as one JSON object.")] = False,
) -> None:
    """Two sites on this machine: write, lose the primary, take over, compare.

    A file system on a replicated volume is written to, the primary site is
    killed in the middle of it, the secondary takes over, and everything that
    was acknowledged is looked for. Exit code 0 only if nothing was lost and
    the order was kept. Takes half a minute and needs root.
    """
    json = json or context.find_root().obj.json
    if stop:
        _stop(directory, json)
        return
    from hostagent.cli.demo.reporter import Silent
    from hostagent.cli.demo.run import demonstrate
    from hostagent.cli.session import print_json

    if json:
        outcome, workspace = demonstrate(directory, parse_size(size), keep, Silent())
        document = outcome.document()
        if keep:
            document["directory"] = str(workspace.directory)
            document["agents"] = {site.name: site.agent_url for site in workspace.sites}
        print_json(document)
    else:
        _demonstrate_on_screen(directory, parse_size(size), keep)
        return
    raise typer.Exit(0 if outcome.passed else FAILED)


def _demonstrate_on_screen(directory: Path | None, size_bytes: int, keep: bool) -> None:
    from rich.console import Console

    from hostagent.cli.demo.run import demonstrate, next_commands
    from hostagent.cli.demo.show import Screen, verdict_text

    console = Console(highlight=False, soft_wrap=True)
    try:
        outcome, workspace = demonstrate(directory, size_bytes, keep, Screen(console, BEGINNING))
    except KeyboardInterrupt:
        typer.echo("pairvol: interrupted; both sites and what they held are removed", err=True)
        raise
    primary, secondary = workspace.sites
    console.print(verdict_text(outcome, primary.name, secondary.name), end="")
    if keep:
        typer.echo("\nBoth sites go on. Try:\n")
        for command in next_commands(workspace):
            typer.echo(f"   {command}")
    else:
        typer.echo('\nBoth sites are removed again; "pairvol demo --keep" leaves them to you.')
    raise typer.Exit(0 if outcome.passed else FAILED)


def _stop(directory: Path | None, json: bool) -> None:
    from hostagent.cli.demo.run import stop
    from hostagent.cli.session import print_json

    ended = stop(directory)
    if json:
        print_json({"ended": [str(path) for path in ended]})
    else:
        typer.echo("\n".join(f"ended and removed {path}" for path in ended) or "no demonstration is left running")
