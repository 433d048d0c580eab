"""Start a program that has no parent of ours: python -I -S launch.py COMMAND...

Debian's nbdkit asks the kernel for SIGTERM when the thread that started it
ends, also without --exit-with-parent. A server that is to outlive its
controller must therefore not be its child. This forks, waits until the first
process has gone and another parent (init) has taken the second one in, writes
the pid to descriptor 3, and becomes the program. It imports nothing of the
project, so that it starts fast.
"""

import os
import signal
import sys
import time

REPORT = 3


def main(command: list[str]) -> None:
    starter = os.getpid()
    if os.fork():
        os._exit(0)
    while os.getppid() == starter:
        time.sleep(0.0002)
    os.write(REPORT, f"{os.getpid()}\n".encode())
    os.set_inheritable(REPORT, False)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it; a server shall not
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.stderr.write(f"pairvol: cannot run {command[0]}: {os.strerror(error.errno or 0).lower()}\n")
        sys.stderr.flush()
        os._exit(127)


if __name__ == "__main__":
    main(sys.argv[1:])
