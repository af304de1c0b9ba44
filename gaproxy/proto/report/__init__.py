"""What people and their programs read of us."""
