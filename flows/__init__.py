"""Prefect flows and the `east` command line."""
