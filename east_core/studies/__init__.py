"""Several runs together: arms, comparison, promotion, retraining."""
