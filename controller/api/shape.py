"""What every message of the control link is made of."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from controller.api.words import NAME_PATTERN

NAME: Final = re.compile(NAME_PATTERN)
NAME_HINT: Final = "A name has 63 letters, digits, dots, hyphens and underscores at most, a letter or digit first."
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
Count = Annotated[int, Field(ge=0)]


class Shape(BaseModel):
    """Base of every message: unknown keys in a request are refused."""

    # Built when a message is first read or made: who starts knows a hundred shapes and needs a few.
    model_config = ConfigDict(extra="forbid", defer_build=True)


def build_all() -> None:
    """Build every shape that is known by now: routes are declared with whole ones."""
    waiting = [Shape]
    while waiting:
        shape = waiting.pop()
        shape.model_config["defer_build"] = False  # and what is made of it, as FastAPI does
        shape.model_rebuild()
        waiting += shape.__subclasses__()


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
