"""Weighted training with TRL under DeepSpeed."""
