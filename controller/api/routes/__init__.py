"""One router for each noun. What they take and answer is known, and built, before the first is declared."""

import controller.api.drills
import controller.api.drivers
import controller.api.lifecycle
import controller.api.markers
import controller.api.models
import controller.api.runs  # noqa: F401
from controller.api.shape import build_all

build_all()
