"""Coverage-guided fuzzing of the readers; see docs/fuzzing.md. Not collected by pytest: what it finds becomes a test elsewhere."""
