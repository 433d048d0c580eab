"""`pairvol volume` and `pairvol pool`."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.api.models import PoolVolume, Volume
from controller.errors import NotFoundError
from hostagent.api.models import Attachment
from tests.unit.cli.conftest import Pairvol
from tests.unit.cli.fake_agent import FakeAgent

VOLUME = Volume.model_validate(
    {
        "name": "data",
        "uuid": "6a0f2c0e-7a44-4a1e-9f8e-0d7b7e6b1c11",
        "size_bytes": 10 << 30,
        "backing": "/var/lib/pairvol/volumes/data.img",
        "group": "db",
        "role": "primary",
        "uri": "nbd+unix:///data?socket=/run/pairvol/v-data.sock",
        "server": "running",
    }
)
ATTACHMENT = Attachment(volume="data", device="/dev/loop7", uri=VOLUME.uri or "", method="nbdfuse")


def test_create_takes_sizes_as_people_write_them(agent: FakeAgent, pairvol: Pairvol) -> None:
    agent.answers["POST /v1/volumes"] = VOLUME.model_dump(mode="json")
    shown = pairvol("volume", "create", "data", "10G", "--backing", "data.img")
    assert shown.out == "data: 10 GiB at /var/lib/pairvol/volumes/data.img\n"
    sent = agent.requests[0][2]
    assert sent["size_bytes"] == 10 << 30
    assert Path(sent["backing"]).is_absolute()


def test_attach_prints_the_device_and_nothing_else(agent: FakeAgent, pairvol: Pairvol) -> None:
    agent.attachment = ATTACHMENT
    assert pairvol("volume", "attach", "data").out == "/dev/loop7\n"
    assert pairvol("volume", "attach", "data", "--json").json["method"] == "nbdfuse"


def test_attach_can_print_the_address_only(agent: FakeAgent, pairvol: Pairvol) -> None:
    agent.attachment = ATTACHMENT.model_copy(update={"device": None, "method": "uri"})
    assert pairvol("volume", "attach", "data", "--uri").out == f"{VOLUME.uri}\n"
    assert agent.requests[-1][2]["uri_only"] is True


def test_list_shows_role_and_device(agent: FakeAgent, pairvol: Pairvol) -> None:
    assert pairvol("volume", "list").out == "no volumes\n"
    agent.volumes, agent.attachment = [VOLUME], ATTACHMENT
    head, row = pairvol("volume", "list").lines
    assert head.split() == ["NAME", "SIZE", "GROUP", "ROLE", "SERVER", "DEVICE", "BACKING"]
    assert row.split() == ["data", "10", "GiB", "db", "primary", "running", "/dev/loop7", VOLUME.backing]


def test_show_has_a_line_for_each_property(agent: FakeAgent, pairvol: Pairvol) -> None:
    agent.volumes = [VOLUME.model_copy(update={"failure": "disk refused: EIO"})]
    shown = pairvol("volume", "show", "data")
    assert "size      10 GiB (10737418240 bytes)" in shown.lines
    assert "failure   disk refused: EIO" in shown.lines


@pytest.mark.parametrize("verb", ["delete", "detach"])
def test_what_is_done_silently_says_nothing(agent: FakeAgent, pairvol: Pairvol, verb: str) -> None:
    shown = pairvol("volume", verb, "data")
    assert (shown.code, shown.out, shown.err) == (0, "", "")


def test_not_found_has_its_exit_code(agent: FakeAgent, pairvol: Pairvol) -> None:
    agent.refusal = NotFoundError("volume data does not exist", hint='See "pairvol volume list".')
    refused = pairvol("volume", "show", "data")
    assert refused.code == 10
    assert refused.err == 'pairvol: volume data does not exist\nHINT: See "pairvol volume list".\n'


def test_pool(agent: FakeAgent, pairvol: Pairvol) -> None:
    assert "the pool is empty" in pairvol("pool", "list").out
    agent.pool = [PoolVolume(name="spare", path="/srv/spare", size_bytes=8 << 30)]
    assert pairvol("pool", "list").lines[1].split() == ["spare", "8", "GiB", "/srv/spare"]
    agent.answers["POST /v1/pool"] = agent.pool[0].model_dump()
    assert pairvol("pool", "add", "spare", "8G").code == 0
    assert agent.requests[-1][2] == {"name": "spare", "path": None, "size_bytes": 8 << 30}
    assert pairvol("pool", "add", "spare").code == 2
    assert pairvol("pool", "add", "spare", "8G", "--path", "/srv/spare").code == 2
    assert pairvol("pool", "remove", "spare").code == 0
    assert agent.requests[-1][:2] == ("DELETE", "/v1/pool/spare")
