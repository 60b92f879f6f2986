"""The stages of a run on a Ray cluster."""
