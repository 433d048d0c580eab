"""/metrics of the agent, and /metrics/controller: those of its site's controller.

A controller listens at a Unix socket, which no Prometheus can scrape; so its
agent hands its page on.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Header, Response

from controller.api.late import Noun
from controller.metrics import PATH
from hostagent.api.routes.agent import program_version
from hostagent.api.routes.dependencies import Here

noun = Noun(tags=["metrics"])


@noun.get(PATH, response_class=Response)
def metrics(host: Here, accept: Annotated[str, Header()] = "") -> Response:
    """Every figure of this agent, in the text form of Prometheus or of OpenMetrics."""
    from controller.metrics.page import page
    from hostagent.metrics.collector import HostCollector

    return page(HostCollector(host, program_version()), accept)


@noun.get(f"{PATH}/controller", response_class=Response)
def controller_metrics(host: Here) -> Response:
    """The figures of the storage controller of this site, as it tells them."""
    from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

    return Response(host.controller.metrics(), media_type=CONTENT_TYPE_PLAIN_0_0_4)
