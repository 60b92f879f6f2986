"""Scores of a checkpoint, and what a difference between two of them means."""
