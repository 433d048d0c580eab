"""Application-consistent moments: the user's commands, and file systems that stand still, around a marker."""
