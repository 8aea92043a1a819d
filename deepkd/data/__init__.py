"""From data sets and crops to training samples."""
