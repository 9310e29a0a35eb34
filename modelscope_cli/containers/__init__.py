"""Things that models travel in: pickle streams, zip and tar archives, compressed streams, read as data."""
