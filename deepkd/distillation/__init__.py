"""Teaching a student what its teacher knows."""
