"""/metrics: what a monitoring system scrapes."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Response

from controller.api.routes.dependencies import Here
from controller.api.routes.site import program_version
from controller.metrics.collector import ApplianceCollector
from controller.metrics.page import PATH, page

router = APIRouter(tags=["metrics"])


@router.get(PATH, response_class=Response)
def metrics(appliance: Here, accept: Annotated[str, Header()] = "") -> Response:
    """Every figure of this appliance, in the text form of Prometheus or of OpenMetrics."""
    return page(ApplianceCollector(appliance, program_version()), accept)
