"""Limits that a team sets for its models, and what a checkpoint says to them: the rules, their configuration, the verdicts."""
