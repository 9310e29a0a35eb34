"""Model files as bytes, from short literals, without torch and without the pickle module."""
