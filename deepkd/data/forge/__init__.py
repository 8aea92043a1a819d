"""Forging: real faces to labelled forgeries."""
