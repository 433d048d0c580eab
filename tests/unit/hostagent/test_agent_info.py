"""What an agent says of its controller: one of another site is none."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from hostagent.api.routes.agent import info
from hostagent.host import Host
from tests.unit.cli.fake_agent import info as sample


@pytest.mark.parametrize(("site", "ok"), [("tokyo", True), ("kyoto", False)])
def test_a_controller_of_another_site_is_named(site: str, ok: bool) -> None:
    host = SimpleNamespace(
        site="tokyo",
        controller=SimpleNamespace(site=lambda: SimpleNamespace(site=site)),
        peers=SimpleNamespace(contacts=list),
        monitor=SimpleNamespace(facts=lambda: sample().host),
    )
    said = info(cast(Host, host))
    assert (said.controller_ok, site in (said.controller_failure or site)) == (ok, True)
