"""Several hosts at one appliance, and hosts that die: who drives a pair, and who stands in (HOSTS.md)."""
