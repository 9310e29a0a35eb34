"""The types everything else speaks in. Standard library only."""
