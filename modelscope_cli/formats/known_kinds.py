"""What is said of a kind of file that is named and not read. The rows stand in known_models and known_others."""

from __future__ import annotations

from typing import NamedTuple

MODELS, BESIDE, OTHERS = "models", "beside models", "no models"
FILE = "FILE"  # in words of what to do: the path, as it can be typed
NETRON = f"mscope visualize {FILE} --engine netron draws it"
SCAN = "mscope scan says what loading it can run"
NETRON_AND_SCAN = f"{NETRON}; {SCAN}"
WEIGHTS = "it holds no weights: inspect the weights file beside it"


class Kind(NamedTuple):
    """`title` goes on after "this is"; `files` are suffixes or names, `rule` says how it is known, `todo` what to do with it.

    `magic` is matched against the first bytes; the first row that matches counts. Kinds without one are found by looking closer.
    """

    name: str
    title: str
    files: str
    rule: str
    todo: str
    magic: str = ""
    group: str = MODELS
