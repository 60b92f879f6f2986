"""What a run will need, before anything is bought or started."""
