"""Differential tests: torch and safetensors write files, read them again, and must agree with what we read."""
