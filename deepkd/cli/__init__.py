"""The command line: one file per command, joined by app.py."""
