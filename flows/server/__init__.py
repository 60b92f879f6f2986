"""Prefect's server for this project: its process, its setup, its forms."""
