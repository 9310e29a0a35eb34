"""Model files as published packages ship them: fetched when asked for, never kept in the repository."""
