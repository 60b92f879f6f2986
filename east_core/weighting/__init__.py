"""From answer clusters to training weights: the strategies, the stage, a file on its own."""
