"""From face crops to a verdict. Never imports torch."""
