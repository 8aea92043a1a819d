"""From a video file to face crops. Never imports torch."""
