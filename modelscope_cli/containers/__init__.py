"""Things that models travel in: pickle streams and zip archives, read as data."""
