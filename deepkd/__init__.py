"""deepkd: deepfake detection on the command line, with a teacher-to-student compression pipeline."""

__version__ = "0.2.0"
