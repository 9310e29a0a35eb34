"""Files made to hurt, and things that are no model files at all."""
