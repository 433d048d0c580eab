"""`make bench`: pairvol against its peers, side by side in one run."""
