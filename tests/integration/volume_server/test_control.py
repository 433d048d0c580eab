"""The control socket of a real server, and its life from start to SIGTERM."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import stat
from pathlib import Path

import nbd
import pytest

from controller.durable import write_json
from controller.errors import ConflictError, NotFoundError, UsageError
from tests.integration.volume_server.conftest import MIB
from tests.support.nbdkit import connected
from tests.support.processes import Processes
from tests.support.volume_server import GroupFiles, server_environment, server_words, start_volume_server
from tests.support.waiting import wait_until


def test_status_counts_what_happened(paired: GroupFiles) -> None:
    with connected(paired.uri("data")) as one, connected(paired.uri("log")):
        one.pwrite(b"x" * 4096, 0)
        one.pread(512, 0)
        one.flush()
        status = paired.command("status")
    assert status["mode"] == "journal"
    assert [(v["index"], v["name"], v["size_bytes"], v["writable"], v["connections"]) for v in status["volumes"]] == [
        (0, "data", 64 * MIB, True, 1),
        (1, "log", 8 * MIB, True, 1),
    ]
    assert (status["writes"], status["reads"], status["flushes"]) == (1, 1, 1)
    assert status["appended"] == status["durable"]
    assert status["appended"]["sequence"] == 1
    assert status["appended"]["data_position"] == 8
    assert status["failure"] is None
    wait_until(lambda: paired.command("status")["volumes"][0]["connections"] == 0)
    assert paired.command("status")["writes"] == 1, "counts outlive the connection"


@pytest.mark.parametrize("told", [True, False])
def test_a_prepared_server_opens_nothing_before_it_is_told(short_path: Path, processes: Processes, told: bool) -> None:
    files = GroupFiles(short_path, {"data": MIB}).create()
    config = files.directory / "server.json"
    read, write = os.pipe()
    words = [*server_words(config, files.socket), "prepared=1"]
    server = processes.start(words, "server", server_environment(), stdin=read)
    os.close(read)
    waiting = Path(f"/proc/{server.pid}/syscall")
    wait_until(lambda: waiting.read_text().startswith("0 0x0 "), what="its program to be loaded, and to read its input")
    assert not files.socket.exists()
    write_json(config, files.document)
    if told:
        os.write(write, b"serve\n")
        wait_until(files.control.exists, what="the server to serve")
        with connected(files.uri("data")) as handle:
            handle.pwrite(b"x" * 4096, 0)
        assert processes.stop(server) == 0, processes.log("server")
        os.close(write)
    else:
        os.close(write)
        assert server.wait(20) == 0, processes.log("server")
        assert not files.socket.exists(), "it serves although nobody keeps it"


def test_flush_and_checkpoint(paired: GroupFiles) -> None:
    with connected(paired.uri("data")) as handle:
        handle.pwrite(b"x" * 4096, 8192)
        assert paired.command("flush")["durable"]["sequence"] == 1
        assert paired.command("checkpoint")["checkpoint"]["sequence"] == 1
        assert paired.volume("data").read_bytes()[8192:12288] == b"x" * 4096


def test_writable_is_toggled_under_a_client(paired: GroupFiles, processes: Processes) -> None:
    with connected(paired.uri("data")) as handle:
        paired.command("writable", volume="data", writable=False)
        for _ in range(3):
            with pytest.raises(nbd.Error) as refused:
                handle.pwrite(bytes(512), 0)
            assert refused.value.errno == "EPERM"
        said = processes.log("server").splitlines()
        assert [line.rpartition("error: ")[2] for line in said] == ["volume data is not writable here"] * 3
        with connected(paired.uri("data")) as newcomer:
            assert newcomer.is_read_only()
        paired.command("writable", volume="data", writable=True)
        handle.pwrite(bytes(512), 0)
    with pytest.raises(NotFoundError):
        paired.command("writable", volume="nothing", writable=True)
    with pytest.raises(UsageError):
        paired.command("writable", volume="data", writable="yes")


def test_acquisition_starts_and_stops_under_a_client(unpaired: GroupFiles) -> None:
    with connected(unpaired.uri()) as handle:
        handle.pwrite(b"a" * 4096, 0)
        unpaired.create_journal(16 * MIB)
        assert unpaired.command("start", journal=unpaired.journal_document)["appended"]["sequence"] == 0
        handle.pwrite(b"b" * 4096, 4096)
        assert unpaired.command("status")["appended"]["sequence"] == 1
        unpaired.command("stop")
        assert unpaired.command("status")["mode"] == "direct"
        assert unpaired.volume("data").read_bytes()[:8192] == b"a" * 4096 + b"b" * 4096
        handle.pwrite(b"c" * 4096, 4096)
        unpaired.command("start", journal=unpaired.journal_document)
        assert handle.pread(8192, 0) == b"a" * 4096 + b"c" * 4096
    with pytest.raises(UsageError):
        unpaired.command("start", journal={"path": "/nothing"})
    with pytest.raises(ConflictError):
        unpaired.command("start", journal=unpaired.journal_document | {"path": "/nothing"})


def test_bad_commands_get_an_answer_and_the_listener_lives(paired: GroupFiles) -> None:
    assert stat.S_IMODE(paired.control.stat().st_mode) == 0o600
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.connect(str(paired.control))
        with link.makefile("rwb") as stream:
            for line in (
                b"{}",
                b"nonsense",
                b"[1]",
                b"\xff\xfe",
                b'{"command": "explode"}',
                b'{"command": ["status"]}',
            ):
                stream.write(line + b"\n")
                stream.flush()
                answer = json.loads(stream.readline())
                assert (answer["ok"], answer["error"]) == (False, "UsageError"), line
            stream.write(b'{"command": "status"}\n')
            stream.flush()
            assert json.loads(stream.readline())["ok"]
            stream.write(b'{"command": ')  # and hangs up
            stream.flush()
    assert paired.command("status")["ok"]


def test_a_client_that_says_nothing_holds_up_nobody(paired: GroupFiles) -> None:
    silent = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(8)]
    for link in silent:
        link.connect(str(paired.control))
    assert paired.command("status")["ok"]
    for link in silent:
        link.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_under_its_clients(
    short_path: Path, processes: Processes, number: signal.Signals
) -> None:
    files = GroupFiles(short_path, {"data": 8 * MIB}, 16 * MIB).create()
    server = start_volume_server(processes, files)
    idle, writing = nbd.NBD(), nbd.NBD()
    idle.connect_uri(files.uri())
    writing.connect_uri(files.uri())
    writing.pwrite(b"x" * MIB, MIB)
    with contextlib.suppress(nbd.Error):
        for page in range(256):
            writing.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(4096)), page * 4096)
    server.send_signal(number)
    assert server.wait(20) == 0
    assert files.volume("data").read_bytes()[MIB : 2 * MIB] == b"x" * MIB
    assert not files.control.exists()
    start_volume_server(processes, files)
    status = files.command("status")
    assert status["checkpoint"] == status["appended"], "nothing was left to replay"
    with pytest.raises(nbd.Error):
        idle.pread(512, 0)


def test_what_stops_a_server_from_starting_is_one_line(short_path: Path, processes: Processes) -> None:
    files = GroupFiles(short_path, {"data": MIB}, MIB).create()
    first = start_volume_server(processes, files)
    pidfile = (short_path / "nbd.pid").read_text()

    def refused(document: dict[str, object], name: str) -> str:
        config = short_path / f"{name}.json"
        config.write_text(json.dumps(document))
        other = processes.start(server_words(config, short_path / f"{name}.sock"), name, server_environment())
        assert other.wait(20) == 1
        return processes.log(name)

    log = refused(files.document, "second")
    assert log.splitlines() == [
        f"pairvol: backing store {files.volume('data')} is in use by another process",
        "HINT: One server serves a volume; end the other one first.",
    ]
    assert "volumes: " in refused({"name": "x", "control": "c", "volumes": []}, "empty")
    assert "Traceback" not in refused({"surprise": 1}, "strange")
    assert first.poll() is None
    assert (short_path / "nbd.pid").read_text() == pidfile
    assert files.command("status")["ok"]
