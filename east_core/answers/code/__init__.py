"""Programs that a model wrote, run in a sandbox against a question's tests."""
