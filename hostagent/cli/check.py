"""`pairvol check`: OK and FAILED lines, each failure with its mend."""

from __future__ import annotations

import typer

from hostagent.cli.output import coloured, width
from hostagent.cli.session import Session, verb


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    verb(app, "check")(check)


def check(session: Session) -> None:
    """Check programs, devices, rights, configuration, daemons and peers.

    Exit code 0 when all is well, 1 with a warning, 2 when something failed.
    """
    from hostagent.cli.probes import Level, findings

    worst = Level.OK
    report = []
    for finding in findings(session):
        worst = max(worst, finding.level, key=list(Level).index)
        report.append(
            {"check": finding.subject, "level": finding.level, "detail": finding.detail, "mend": finding.mend}
        )
        if not session.json:
            typer.echo(line(finding.level, finding.subject, finding.detail))
            if finding.level is not Level.OK and finding.mend:
                typer.echo(f"{'':35}mend: {finding.mend}")
    if session.json:
        from hostagent.cli.session import print_json

        print_json({"verdict": worst, "checks": report})
    raise typer.Exit(list(Level).index(worst))


def line(level: str, subject: str, detail: str) -> str:
    """`FAILED   nbdfuse               not installed`."""
    word = coloured(level)
    return f"{word}{' ' * (9 - width(word))}{subject:<26}{detail}"
