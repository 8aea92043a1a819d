"""Distillation losses: one published method per file, each named in `LOSSES` of `settings.choices`."""
