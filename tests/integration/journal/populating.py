"""`python -m tests.integration.journal.populating FILE PID`: reads a map of a file whose server, PID, stands still.

The server goes on only when another thread than the one that reads says so,
which it does once it sees that thread within the kernel's call.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import signal
import sys
import threading
import time
from pathlib import Path

from controller.journal.access import populate

MADVISE = {"x86_64": "28", "aarch64": "233"}[platform.machine()]


def main(path: str, server: int) -> None:
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        held = ctypes.c_char.from_buffer(mapped)
        reader = threading.Thread(target=populate, args=(ctypes.addressof(held), 0, len(mapped)))
        os.kill(server, signal.SIGSTOP)
        try:
            reader.start()
            call = Path(f"/proc/self/task/{reader.native_id}/syscall")
            while not call.read_text().startswith(f"{MADVISE} "):
                time.sleep(0.001)
            print("went on", flush=True)
        finally:
            os.kill(server, signal.SIGCONT)
        reader.join()
        del held


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
