"""The data flow engine: from calls to a picture, with torch and without."""
