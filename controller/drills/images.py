"""The nbdkit processes that serve images: one for each volume of a drill, never started twice.

Owns starting, finding again, watching and ending them. An image is the SVOL's
store, opened read-only, under nbdkit's copy-on-write filter; what is written
to it is in a nameless file that goes with the process. So a process that
ended must not be started again: hosts would find another content. They
outlive the controller like every server.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Final

from controller import process
from controller.api.drills import DrillImage
from controller.config import Config
from controller.errors import ConflictError, PeerError
from controller.paths import Paths
from controller.process import ServerProcess
from controller.server_plan import last_words

LOOK_SECONDS: Final = 0.5
READY_POLL_SECONDS: Final = 0.01
END_SECONDS: Final = 5.0


class Images:
    """All live images of an appliance, by server id. Any thread may call."""

    def __init__(self, config: Config, paths: Paths) -> None:
        self._config = config
        self._paths = paths
        self._changed = threading.Condition()
        self._live: dict[str, ServerProcess] = {}
        self._closing = False
        self._watch: threading.Thread | None = None

    def start(self, images: list[tuple[DrillImage, str]]) -> None:
        """Serve images, each of a store (a path); all answer when this returns, or none is left."""
        servers = [image.server for image, _ in images]
        try:
            for image, store in images:
                self._spawn(image, store)
            for server in servers:
                self._await_ready(server)
        except BaseException:
            self.end(servers)
            raise

    def adopt(self, images: list[DrillImage]) -> bool:
        """Find the images that an earlier controller left; False when one of them is gone."""
        for image in images:
            running = process.adopt(self._paths.pidfile(image.server))
            if running is None:
                return False
            self._keep(image.server, running)
        return True

    def end(self, servers: list[str]) -> None:
        """Drop images and what was written to them; those that are gone are no error."""
        for server in servers:
            with self._changed:
                running = self._live.pop(server, None)
            running = running or process.adopt(self._paths.pidfile(server))
            if running is not None:
                running.send(signal.SIGKILL)  # there is nothing to save
                running.wait(END_SECONDS)
                running.reap()
                running.close()
            for path in (self._paths.pidfile(server), self._paths.socket(server), self._paths.server_log(server)):
                path.unlink(missing_ok=True)

    def dead(self) -> set[str]:
        """Images that ended by themselves."""
        with self._changed:
            return {server for server, running in self._live.items() if not running.alive()}

    def last_words(self, server: str) -> str:
        return last_words(self._paths.server_log(server))

    def watch(self, on_dead: Callable[[set[str]], None]) -> None:
        """From now on tell, in a thread, of images that ended by themselves, until they are dropped."""

        def look() -> None:
            while True:
                with self._changed:
                    if not self._closing:
                        self._changed.wait(LOOK_SECONDS if self._live else None)
                    if self._closing:
                        return
                found = self.dead()
                if found:
                    on_dead(found)

        self._watch = threading.Thread(target=look, name="images", daemon=True)
        self._watch.start()

    def close(self, *, stop: bool = False) -> None:
        """Stop watching; images are served on, unless they are to stop."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._watch is not None:
            self._watch.join()
        with self._changed:
            live = list(self._live)
        if stop:
            self.end(live)
        with self._changed:
            for running in self._live.values():
                running.close()
            self._live.clear()

    def _spawn(self, image: DrillImage, store: str) -> None:
        paths, server = self._paths, image.server
        for path in (paths.pidfile(server), paths.socket(server)):
            path.unlink(missing_ok=True)
        environment = {**os.environ, "TMPDIR": str(paths.overlays)}
        command = image_command(image, store, self._config, paths)
        running = process.spawn(command, environment, paths.server_log(server))
        self._keep(server, running)

    def _keep(self, server: str, running: ServerProcess) -> None:
        with self._changed:
            self._live[server] = running
            self._changed.notify_all()

    def _await_ready(self, server: str) -> None:
        with self._changed:
            running = self._live[server]
        waited = 0.0
        while not self._paths.pidfile(server).exists():  # nbdkit writes it when it listens
            if not running.alive():
                raise ConflictError(
                    f"image {server} ended at start: {self.last_words(server)}",
                    hint='Run "pairvol check" there, which looks for nbdkit; then start the drill again.',
                    server=server,
                )
            if waited > self._config.servers.start_seconds:
                raise PeerError(
                    f"image {server} did not answer within {waited:g} s",
                    hint="This machine may be overloaded: start the drill again, or raise start_seconds of [servers].",
                    server=server,
                )
            running.wait(READY_POLL_SECONDS)
            waited += READY_POLL_SECONDS


def image_command(image: DrillImage, store: str, config: Config, paths: Paths) -> list[str]:
    """A stock nbdkit: the store read-only, of the volume's length, what is written kept beside it."""
    return [
        config.servers.nbdkit,
        "-f",
        "--pidfile",
        str(paths.pidfile(image.server)),
        "-U",
        str(paths.socket(image.server)),
        "--filter=noparallel",  # as for the journal servers: a hang-up must not end the image
        "--filter=cow",
        "--filter=offset",
        "file",
        store,
        f"range={image.size_bytes}",
        "serialize=requests",
    ]
