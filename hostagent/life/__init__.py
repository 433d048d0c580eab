"""A pair's life beside copying: suspension and resync, split, swap. Decisions are pure, commands carry them out."""
