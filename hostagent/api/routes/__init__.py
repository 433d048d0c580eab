"""One router for each noun. What they take and answer is known, and built, before the first is declared."""

import hostagent.api.drills
import hostagent.api.history
import hostagent.api.host
import hostagent.api.models
import hostagent.api.verify
import hostagent.api.volumes  # noqa: F401
from controller.api.shape import build_all

build_all()
