"""`pairvol check`: the verdict of all, then OK and FAILED lines, each failure with its mend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from controller.units import counted
from hostagent.cli.output import coloured, verdict, width
from hostagent.cli.session import Session, verb

if TYPE_CHECKING:
    from hostagent.cli.probes import Finding


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    verb(app, "check")(check)


def check(session: Session) -> None:
    """Check programs, devices, rights, configuration, daemons and peers.

    Exit code 0 when all is well, 1 with a warning, 2 when something failed:
    it works as a monitoring plug-in, with the verdict and its cause in the first line.
    """
    from hostagent.cli.probes import Level, findings

    found = list(findings(session))
    worst = max((finding.level for finding in found), key=list(Level).index, default=Level.OK)
    word, words = summary(found)
    if session.json:
        from hostagent.cli.session import print_json

        checks = [
            {"check": each.subject, "level": each.level, "detail": each.detail, "mend": each.mend} for each in found
        ]
        print_json({"verdict": worst, "line": words, "checks": checks})
        raise typer.Exit(list(Level).index(worst))
    typer.echo(verdict(word, words))
    for finding in found:
        typer.echo(line(finding.level, finding.subject, finding.detail))
        if finding.level is not Level.OK and finding.mend:
            typer.echo(f"{'':35}mend: {finding.mend}")
    raise typer.Exit(list(Level).index(worst))


def summary(found: Sequence[Finding]) -> tuple[str, str]:
    """The verdict of all, and in words how many failed, which first, and its mend."""
    from hostagent.cli.probes import Level

    failed, warned = ([each for each in found if each.level is level] for level in (Level.FAILED, Level.WARNING))
    if not failed and not warned:
        return "OK", f"{counted(len(found), 'check')} passed"
    parts = [f"{len(failed)} failed"] if failed else []
    parts += [counted(len(warned), "warning")] if warned else []
    first = (failed or warned)[0]
    mend = f"; mend: {first.mend}" if first.mend else ""
    words = f"{' and '.join(parts)} in {counted(len(found), 'check')}: {first.subject}: {first.detail}{mend}"
    return "CRIT" if failed else "WARN", words


def line(level: str, subject: str, detail: str) -> str:
    """`FAILED   nbdfuse               not installed`."""
    word = coloured(level)
    return f"{word}{' ' * (9 - width(word))}{subject:<26}{detail}"
