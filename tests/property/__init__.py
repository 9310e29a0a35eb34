"""Properties that hold for every file: a result or a ModelscopeError, and every byte accounted for."""
