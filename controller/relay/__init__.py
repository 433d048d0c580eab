"""Compression of the data link, outside NBD: what travels, and the process at the primary that sends it."""
