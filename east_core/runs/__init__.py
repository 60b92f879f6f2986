"""A run in its store: its stages, its numbers, what may be deleted."""
