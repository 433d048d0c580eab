"""Reading the order of a run that came over the control socket.

Apart, because a volume server that carries out no run starts without the shapes of the control link.
"""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from controller.api.runs import RunOrder
from controller.api.shape import first_mistake
from controller.errors import UsageError


def parse_run(document: Any) -> RunOrder:
    """The order that the run command carries; UsageError names the first thing that is wrong."""
    try:
        return RunOrder.model_validate(document)
    except ValidationError as error:
        raise UsageError(f"order of a run is wrong: {first_mistake(error)}") from error
