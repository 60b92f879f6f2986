"""Answers: what a completion says, and which answers are the same."""
