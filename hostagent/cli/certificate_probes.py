"""What `pairvol check` says of certificates: whether they can be used, and for how long."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from controller.certificates import expires
from controller.errors import PairvolError
from controller.tls import Certificates
from hostagent.cli.probes import Finding, Level

WARN_DAYS: Final = 30


def certificates(directory: Path) -> Iterator[Finding]:
    """Whether a site's certificates can be used, and for how long."""
    mend = 'renew it: "pairvol tls create" with the same authority, then restart both daemons'
    try:
        Certificates(directory).check()
        ends = {name: expires(directory / name) for name in Certificates(directory).certificate_names}
    except PairvolError as error:
        yield Finding("certificates", Level.FAILED, error.message, error.hint)
        return
    now = datetime.datetime.now(datetime.UTC)
    for name, end in ends.items():
        if end <= now:
            yield Finding("certificates", Level.FAILED, f"{directory / name} expired on {end:%Y-%m-%d}", mend)
        elif end - now < datetime.timedelta(days=WARN_DAYS):
            left = (end - now).days
            yield Finding(
                "certificates", Level.WARNING, f"{directory / name} expires on {end:%Y-%m-%d}, in {left} days", mend
            )
    first = min(ends.values())
    if first - now >= datetime.timedelta(days=WARN_DAYS):
        yield Finding("certificates", Level.OK, f"{directory}, good until {first:%Y-%m-%d}")
