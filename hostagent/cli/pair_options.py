"""What may be said of a pair on the command line: options that several commands take, or one takes many of.

Owns their help, and how their text is read. A default stands in the command.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from controller.errors import UsageError
from controller.units import parse_size
from hostagent.cli.session import validated

if TYPE_CHECKING:
    from hostagent.api.models import SiteVolumes

LIMIT_MIN = 64 << 10

GroupArgument = Annotated[str, typer.Argument(metavar="GROUP", help="The pair's group.")]
PrimaryOption = Annotated[str, typer.Option("--primary", metavar="SITE:VOL[,VOL...]", help="Where hosts write.")]
SecondaryOption = Annotated[str, typer.Option("--secondary", metavar="SITE:VOL[,VOL...]", help="Where the copy goes.")]
SizeOption = Annotated[str | None, typer.Option(metavar="SIZE", help="Such as 8G; a tenth of the volumes otherwise.")]
JournalOption = Annotated[str | None, typer.Option(metavar="VOL[,VOL]", help="Journal volumes by name, from the pool.")]
SecondaryJournalOption = Annotated[
    str | None, typer.Option(metavar="VOL[,VOL]", help="Journal volumes of the secondary, from its pool.")
]
VisibleOption = Annotated[bool, typer.Option("--journal-visible", help="Let hosts see the journal volume (read-only).")]
InitialCopyOption = Annotated[
    str, typer.Option(metavar="direct|base|none", help="base: by journals; none: both sides hold the same already.")
]
ModeOption = Annotated[str, typer.Option(metavar="pull", help="The secondary reads the primary's journal.")]
CopyOption = Annotated[
    str, typer.Option(metavar="notification|schedule|fill|command", help="What starts a journal copy.")
]
EveryOption = Annotated[str, typer.Option(metavar="TIME", help="With --copy schedule: how often.")]
FillOption = Annotated[
    float, typer.Option(min=1, max=99, metavar="PERCENT", help="Journal fill at which a copy starts in any case.")
]
RestoreOption = Annotated[str, typer.Option(metavar="at-once|later", help="later: the SVOL moves on command only.")]
PurgeOption = Annotated[
    str, typer.Option(metavar="at-once|command", help="When journals confirmed by the secondary are freed.")
]
ResyncOption = Annotated[
    str, typer.Option(metavar="auto|command", help="What ends the suspension after a full journal.")
]
OnFullOption = Annotated[
    str, typer.Option(metavar="suspend|throttle", help="throttle: writes slow down before the journal is full.")
]
LimitOption = Annotated[
    str | None, typer.Option("--limit", metavar="SIZE|none", help="Bytes a second that the transfer may take.")
]

CompressOption = Annotated[
    str | None, typer.Option("--compress", metavar="zstd|none", help="Compression of the transfer, for slow links.")
]


def parse_compression(text: str) -> str:
    """One of the two words."""
    if text not in ("zstd", "none"):
        raise UsageError(f"{text!r} is not a compression", hint='Give "--compress zstd" or "--compress none".')
    return text


def parse_limit(text: str) -> int | None:
    """`10M` bytes a second; None for `none`."""
    if text.strip().lower() == "none":
        return None
    hint = 'Give bytes a second, 64K at least, such as --limit 10M; "--limit none" for no limit.'
    try:
        limit = parse_size(text)
    except UsageError as error:
        raise UsageError(f"{text!r} is not a bandwidth limit", hint=hint) from error
    if limit < LIMIT_MIN:
        raise UsageError(f"a bandwidth limit of {text} cannot carry a pair", hint=hint)
    return limit


def site_volumes(text: str, option: str) -> SiteVolumes:
    """`tokyo:data,log`."""
    from hostagent.api.models import SiteVolumes

    site, colon, volumes = text.partition(":")
    if not (site and colon and all(volumes.split(","))):
        raise typer.BadParameter(f"{text!r} is not SITE:VOL[,VOL...]", param_hint=option)
    return validated(SiteVolumes, site=site, volumes=volumes.split(","))


def volume_names(text: str | None) -> list[str]:
    """`jnl-1,jnl-2`."""
    return text.split(",") if text else []
