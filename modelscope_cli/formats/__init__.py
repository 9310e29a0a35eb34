"""From paths to checkpoints: one file a format, `read(window, limits)`, and what finds and names files. Nothing in a file is executed."""
