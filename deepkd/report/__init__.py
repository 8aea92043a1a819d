"""Showing results to people and programs. Never imports torch."""
