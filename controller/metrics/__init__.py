"""What a monitoring system scrapes of a storage controller, and the page that both daemons make of their metrics."""
