"""The method: sample, cluster, weigh, train, evaluate. Knows nothing of Prefect."""
