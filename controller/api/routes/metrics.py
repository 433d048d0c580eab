"""/metrics: what a monitoring system scrapes."""

from __future__ import annotations

from typing import Annotated

from fastapi import Header, Response

from controller.api.late import Noun
from controller.api.routes.dependencies import Here
from controller.api.routes.site import program_version
from controller.metrics import PATH

noun = Noun(tags=["metrics"])


@noun.get(PATH, response_class=Response)
def metrics(appliance: Here, accept: Annotated[str, Header()] = "") -> Response:
    """Every figure of this appliance, in the text form of Prometheus or of OpenMetrics."""
    from controller.metrics.collector import ApplianceCollector
    from controller.metrics.page import page

    return page(ApplianceCollector(appliance, program_version()), accept)
