"""Pages driven in a real browser: any Chromium on the PATH, by playwright. Skipped where there is none, but not in CI."""
