"""Journal groups. What can be asked of them is in commands.py; the routes call these and nothing deeper."""
