"""What every message of the control link is made of."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from functools import lru_cache
from typing import Annotated, Any, Final, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

from controller.api.words import NAME_PATTERN

_building: Final = threading.RLock()

NAME: Final = re.compile(NAME_PATTERN)
NAME_HINT: Final = "A name has 63 letters, digits, dots, hyphens and underscores at most, a letter or digit first."
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
Count = Annotated[int, Field(ge=0)]


class Shape(BaseModel):
    """Base of every message: unknown keys in a request are refused."""

    # Built when a message is first read or made: who starts knows a hundred shapes and needs a few.
    model_config = ConfigDict(extra="forbid", defer_build=True)

    @classmethod
    def model_rebuild(cls, *, force: bool = False, **settings: Any) -> bool | None:
        """As pydantic's, one at a time: threads build what they need first, and two may need the same."""
        with _building:
            return super().model_rebuild(force=force, **settings) if force or not cls.__pydantic_complete__ else None


def build(kinds: Iterable[Any]) -> None:
    """Build the shapes in annotations: FastAPI makes of one whether it is whole or not, and wants whole ones."""
    for kind in kinds:
        if isinstance(kind, type) and issubclass(kind, Shape):
            kind.model_config["defer_build"] = False  # and what is made of it, as FastAPI does
            kind.model_rebuild()
        else:
            build(get_args(kind))


@lru_cache(maxsize=128)
def reader(kind: Any) -> TypeAdapter[Any]:
    """What reads an answer of a kind, a shape or a list of them; made once, which takes longer than to read with it."""
    build([kind])
    return TypeAdapter(kind)


class Failure(Shape):
    error: str
    message: str
    hint: str = ""
    time_ns: Count


def first_mistake(error: ValidationError) -> str:
    """The first of the mistakes in a document, as a part of one line: where it is, and what."""
    mistake = error.errors(include_url=False)[0]
    words = str(mistake["msg"])
    return f"{'.'.join(map(str, mistake['loc'])) or 'document'}: {words[:1].lower()}{words[1:]}"
