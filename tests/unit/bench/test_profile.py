"""What perf prints, shared out by part."""

from __future__ import annotations

import os
import subprocess
import sys

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


def test_a_thread_that_has_its_core_taken_is_counted() -> None:
    displaced = profile._Displaced(os.getpid(), 0.4)
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})  # the process beside this one is given the same core
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        displaced.start()
        while displaced.is_alive():
            pass
    finally:
        other.kill()
        other.wait()
        os.sched_setaffinity(0, allowed)
    assert displaced.rate > 0
