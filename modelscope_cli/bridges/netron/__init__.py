"""Netron's own page with one model in it: what is served, by whom, and how a picture comes out of it without a screen."""
