"""A daemon of another site answers at an address: nothing is done there, and who asked is told."""

from __future__ import annotations

from contextlib import closing

import pytest

from controller.api.client import ControllerClient
from controller.errors import WrongSiteError
from hostagent.peers import AgentClient
from tests.support.replication import LinkedSites


def test_an_agent_of_another_site_is_no_contact(shared: LinkedSites) -> None:
    address = shared.first.agent_url
    with closing(AgentClient("osaka", address)) as osaka:
        contact = osaka.contact()
        assert not contact.ok
        assert "site tokyo answers there, not osaka" in (contact.failure or "")
        with pytest.raises(WrongSiteError, match="the host agent of osaka is not at"):
            osaka.attachments()
    with closing(AgentClient("tokyo", address)) as tokyo:
        assert tokyo.contact().ok


def test_a_controller_of_another_site_refuses(shared: LinkedSites) -> None:
    address = shared.first.controller_address
    with ControllerClient(address, site="osaka") as client, pytest.raises(WrongSiteError, match="site tokyo answers"):
        client.volumes()
    with ControllerClient(address, site="tokyo") as client:
        client.volumes()
