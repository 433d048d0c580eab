"""Two sites in network namespaces of their own, and a wire between them that loses, delays, cuts and spoils packets."""
