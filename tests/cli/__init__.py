"""The command line: options, paths, streams, start-up, help."""
