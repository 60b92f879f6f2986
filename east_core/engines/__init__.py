"""Sampling and training engines in child processes; the heavy libraries are imported only there."""
