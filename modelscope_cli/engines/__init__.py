"""Ways to draw a checkpoint: one file an engine, one row in the registry."""
