"""The ledger of achieved RPO and RTO: what each pair's lag and state were, and every takeover."""
