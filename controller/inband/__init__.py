"""In-band runs: what ranges of a primary's volumes hold, put into the journal between the host's writes."""
