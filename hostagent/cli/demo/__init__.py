"""The demonstration: two sites on one machine, from mkfs to takeover, with a verdict."""
