"""What a monitoring system scrapes of a storage controller, and the page that both daemons make of their metrics.

The modules here are imported by the first scrape.
"""

from typing import Final

PATH: Final = "/metrics"
