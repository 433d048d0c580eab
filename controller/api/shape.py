"""What every message of the control link is made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]
Count = Annotated[int, Field(ge=0)]


class Shape(BaseModel):
    """Base of every message: unknown keys in a request are refused."""

    model_config = ConfigDict(extra="forbid")


class Failure(Shape):
    error: str
    message: str
    hint: str = ""
    time_ns: Count
