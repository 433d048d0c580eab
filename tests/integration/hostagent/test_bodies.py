"""Both daemons refuse a request that is longer than any command, and go on."""

from __future__ import annotations

from contextlib import closing

import httpx
import pytest

from controller.addresses import parse_listener
from controller.api import problems
from controller.api.bodies import BODY_BYTES_MAX
from tests.support.replication import LinkedSites


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize(("daemon", "path"), [("agent_url", "/v1/pairs"), ("controller_address", "/v1/volumes")])
def test_a_body_that_is_too_long_or_too_deep_is_a_problem(
    shared: LinkedSites, daemon: str, path: str, nested: bool
) -> None:
    address = parse_listener(getattr(shared.first, daemon))
    content = b"[" * 100_000 if nested else bytes(BODY_BYTES_MAX + 1)
    headers = {"content-type": "application/json"}
    transport = httpx.HTTPTransport(uds=address.path, verify=False)
    with closing(httpx.Client(base_url=address.url, transport=transport, headers=headers)) as client:
        answer = client.post(path, content=content)
        assert answer.status_code == (400 if nested else 413)
        assert answer.headers["content-type"] == problems.MEDIA_TYPE
        assert answer.json()["hint"]
        assert client.get(path).status_code == 200
