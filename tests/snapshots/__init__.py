"""Reports of small checkpoints as they were when somebody last looked at them; `update` writes them again."""
