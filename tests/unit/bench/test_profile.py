"""What perf prints, shared out by part."""

from __future__ import annotations

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
