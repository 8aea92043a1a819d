"""Judging models: how accurate they are, and how certain that is."""
