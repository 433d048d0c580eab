"""What an operator orders for a pair: made, changed, verified, taken over, deleted. The table is in COMMANDS.md."""
