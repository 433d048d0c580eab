"""What a monitoring system scrapes of a host agent."""
