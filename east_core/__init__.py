"""The method: sampling, clustering, weighting, training and evaluation. Knows nothing of Prefect."""
