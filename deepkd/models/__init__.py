"""Teachers, students and their checkpoints."""
