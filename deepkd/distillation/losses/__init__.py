"""Distillation losses: one published method per file, each a line of `LOSSES`."""
