"""Packages that come with an extra: whether they are there, asked without importing them."""

from __future__ import annotations

from importlib.util import find_spec

from modelscope_cli.errors import MissingExtraError


def need(extra: str, purpose: str, *packages: str) -> None:
    """Raises MissingExtraError where one of the packages is not installed; `purpose` begins its sentence."""
    for package in packages:
        try:
            found = find_spec(package)
        except (ImportError, ValueError):  # half taken out, or hidden on purpose
            found = None
        if found is None:
            raise MissingExtraError(extra, purpose)
