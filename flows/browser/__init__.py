"""The run browser: a store's runs, rounds, samples and champions as pages, read-only."""
