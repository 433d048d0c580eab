"""CRC-32C in hardware, the checksum of every format here.

It is that of the package crc32c. The package's front module asks for its own
version, and what that imports is a fifth of the start of a volume server; so
the compiled module behind it is loaded by itself, and the front only when
there is none of that name.
"""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from types import ModuleType
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from typing_extensions import Buffer

_COMPILED = "_crc32c"


class Checksum(Protocol):
    def __call__(self, data: Buffer, value: int = 0, /) -> int: ...


def _load() -> ModuleType:
    package = PathFinder.find_spec("crc32c")
    compiled = PathFinder.find_spec(_COMPILED, package.submodule_search_locations) if package is not None else None
    if "crc32c" in sys.modules or compiled is None or compiled.loader is None:
        import crc32c

        return crc32c
    module = module_from_spec(compiled)
    compiled.loader.exec_module(module)
    return module


crc32c = cast(Checksum, _load().crc32c)
"""Of a contiguous buffer, read in place; `value` is the checksum of what goes before it. Any thread."""
