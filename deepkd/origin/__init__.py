"""Origin: what a clip says of its own making (content credentials), and links to clips."""
