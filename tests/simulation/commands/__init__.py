"""Histories with an operator: the agents' real commands over simulated controllers and a simulated network."""
