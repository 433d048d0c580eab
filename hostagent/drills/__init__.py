"""Drills at the secondary's host: images of its volumes as block devices, and a check command run on them."""
