"""One file a format: `sniff` nothing executes, `read(window, limits)` returns a Checkpoint."""
