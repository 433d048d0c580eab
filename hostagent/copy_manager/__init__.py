"""The copy manager of one pair: facts about both sites, what they mean, and what is to be done (FIG. 6)."""
