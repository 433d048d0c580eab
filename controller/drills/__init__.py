"""Drills: writable images of the secondary volumes at one moment, while journals still arrive."""
