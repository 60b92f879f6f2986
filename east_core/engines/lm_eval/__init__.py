"""Benchmarks of lm-evaluation-harness (EleutherAI), run as a child process."""
