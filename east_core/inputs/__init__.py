"""What a run starts from: questions, base models, prompts."""
