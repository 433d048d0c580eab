"""`pairvol tls`: certificates for the links between two sites (SECURITY.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from controller.errors import UsageError
from hostagent.cli.session import JsonOption, noun, print_json

app = noun("tls", "Certificates for the links between two sites.")


@app.callback()
def _tls() -> None:
    """Certificates for the links between two sites."""


@app.command("create")
def create(
    directory: Annotated[
        Path, typer.Argument(help="Folder of the authority, made when it is not there; keep it safe.")
    ],
    site: Annotated[str, typer.Option(help="Whose certificates to make, or to renew.")],
    address: Annotated[list[str], typer.Option(help="A host at which the other site calls this one; several times.")],
    days: Annotated[int, typer.Option(min=1, max=3650, help="How long they last.")] = 730,
    json: JsonOption = False,
) -> None:
    """Make one site's certificates, DIRECTORY/SITE, signed by the authority in DIRECTORY.

    The first time, the authority is made too. One authority is for one pair
    of sites: whoever has a certificate of it may command and read both.
    """
    import datetime

    from pydantic import TypeAdapter, ValidationError

    from controller.api.models import Name
    from controller.certificates import Authority, expires
    from controller.tls import End

    try:
        TypeAdapter(Name).validate_python(site)
    except ValidationError as error:
        raise UsageError(f"{site!r} is not a site's name", hint="Use letters, digits, '.', '_' and '-'.") from error
    folder = Authority.open(directory).issue(site, address, datetime.timedelta(days=days))
    until = expires(folder / End.SERVER.certificate)
    if json:
        print_json({"site": site, "directory": str(folder), "addresses": address, "expires": until.isoformat()})
        return
    typer.echo(f"{folder}: certificates of {site} at {', '.join(address)}, good until {until:%Y-%m-%d}")
    typer.echo(f"bring it to {site} as /etc/pairvol/tls and restart its daemons; {directory}/ca-key.pem stays here")
