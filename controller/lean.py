"""Imports of a program that starts: what they cost, and nobody needs, is left out.

Most of a start are imports. The garbage collector would go through everything
that they make a hundred times meanwhile, and find nothing. And shapes of
libraries are built as ours are (controller/api/shape.py), when first used:
FastAPI has forty for the OpenAPI document.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing() -> Iterator[None]:
    """Import within, in the main thread and before others start."""
    gc.disable()
    from pydantic import BaseModel

    BaseModel.model_config["defer_build"] = True
    try:
        yield
    finally:
        BaseModel.model_config.pop("defer_build")
        gc.enable()
