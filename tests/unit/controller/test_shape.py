"""Shapes are built when they are needed, once, whoever needs them."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from pydantic import ValidationError

from controller.api.client import ControllerClient
from controller.api.models import SiteInfo
from controller.api.shape import Count, Shape, build, reader
from hostagent.transport import Channel

SITE = SiteInfo(site="tokyo", version="1", time_ns=1, volumes=2, groups=3)


class Controller(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        content = SITE.model_dump_json().encode()
        self.send_response(200)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *words: object) -> None: ...


@pytest.fixture
def port() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Controller) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_what_reads_an_answer_is_made_once_for_both_clients(port: int) -> None:
    reader.cache_clear()
    with ControllerClient(f"127.0.0.1:{port}") as client, Channel(f"http://127.0.0.1:{port}", "it") as channel:
        answers = [client.site(), client.site(), channel.call(SiteInfo, "GET", "/site")]
    assert answers == [SITE] * 3
    assert reader.cache_info().misses == 1


def test_shapes_in_an_annotation_are_built_and_others_wait() -> None:
    class Inner(Shape):
        count: Count

    class Outer(Shape):
        inner: Inner

    class Other(Shape):
        count: Count

    build([list[Outer], dict[str, Outer] | None, int])
    assert Outer.__pydantic_complete__
    assert not Other.__pydantic_complete__
    assert reader(list[Outer]).validate_python([{"inner": {"count": 1}}]) == [Outer(inner=Inner(count=1))]
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        reader(list[Outer]).validate_python([{"inner": {"count": -1}}])
    assert Other(count=1).count == 1  # and it is built when it is made


def test_threads_that_need_the_same_shape_first_all_get_it() -> None:
    threads = 8
    for number in range(20):
        shape = type(f"Shape{number}", (Shape,), {"__annotations__": {f"part{n}": Count for n in range(30)}})
        together = threading.Barrier(threads)

        def make(shape: type[Shape] = shape, together: threading.Barrier = together) -> Shape:
            together.wait()
            return shape.model_validate({f"part{n}": n for n in range(30)})

        with ThreadPoolExecutor(threads) as pool:
            made = [each.result() for each in [pool.submit(make) for _ in range(threads)]]
        assert made == [made[0]] * threads
