"""/metrics of the agent, and /metrics/controller: those of its site's controller.

A controller listens at a Unix socket, which no Prometheus can scrape; so its
agent hands its page on.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Response
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from controller.metrics.page import PATH, page
from hostagent.api.routes.agent import program_version
from hostagent.api.routes.dependencies import Here
from hostagent.metrics.collector import HostCollector

router = APIRouter(tags=["metrics"])


@router.get(PATH, response_class=Response)
def metrics(host: Here, accept: Annotated[str, Header()] = "") -> Response:
    """Every figure of this agent, in the text form of Prometheus or of OpenMetrics."""
    return page(HostCollector(host, program_version()), accept)


@router.get(f"{PATH}/controller", response_class=Response)
def controller_metrics(host: Here) -> Response:
    """The figures of the storage controller of this site, as it tells them."""
    return Response(host.controller.metrics(), media_type=CONTENT_TYPE_PLAIN_0_0_4)
