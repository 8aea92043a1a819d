"""Extraction: clips to labelled face crops and their index."""
