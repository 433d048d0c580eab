"""What perf prints, shared out by part."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
import time

from tests.bench import profile

SCRIPT = """
\tffffffff81 copy_folio_from_iter_atomic ([kernel.kallsyms])
\tffffffff82 do_iter_readv_writev ([kernel.kallsyms])
\tffffffff83 do_syscall_64 ([kernel.kallsyms])
\t7f01 pwritev (/usr/lib/x86_64-linux-gnu/libc.so.6)

\t7f02 _PyEval_EvalFrameDefault (/usr/lib/x86_64-linux-gnu/libpython3.11.so.1.0)

\tffffffff84 futex_wait ([kernel.kallsyms])
\tffffffff85 __x64_sys_futex ([kernel.kallsyms])
\tffffffff83 do_syscall_64 ([kernel.kallsyms])

\t7f02 _PyEval_EvalFrameDefault (/usr/lib/x86_64-linux-gnu/libpython3.11.so.1.0)
"""


def test_each_sample_counts_once_for_the_call_it_is_in_else_for_its_library() -> None:
    found = profile.parts(SCRIPT)
    assert found == {"Python": 50.0, "destage: writes into the volume's file": 25.0, "locks": 25.0}


def test_only_a_core_that_was_taken_is_counted_not_one_that_was_given_up() -> None:
    displaced = profile.Displaced(os.getpid(), 0.0)
    for _ in range(200):
        time.sleep(0.0001)
    before = resource.getrusage(resource.RUSAGE_THREAD)
    found = displaced.counted()[str(threading.get_native_id())]
    after = resource.getrusage(resource.RUSAGE_THREAD)
    assert before.ru_nivcsw <= found <= after.ru_nivcsw
    assert before.ru_nvcsw >= 200, "it had given its core up, and that was not counted"


def test_a_thread_that_shares_its_core_loses_it() -> None:
    displaced = profile.Displaced(os.getpid(), 0.4)
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})  # the process beside this one is given the same core
    words = [sys.executable, "-c", "print(flush=True)\nwhile True: pass"]
    other = subprocess.Popen(words, stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None
        other.stdout.readline()
        displaced.start()
        while displaced.is_alive():
            pass
    finally:
        other.kill()
        other.communicate()
        os.sched_setaffinity(0, allowed)
    assert displaced.rate > 0
