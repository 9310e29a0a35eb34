"""What lies beneath a module is looked up, and is what a look at every name would find."""

from __future__ import annotations

import random

import pytest

from modelscope_cli.analysis.beneath import DEEPEST, Beneath, Owners, above


def names(seed: int) -> list[str]:
    chosen = random.Random(seed)
    return [".".join(chosen.choices(["a", "b", "a-", "a/", "0", "1", ""], k=chosen.randint(1, 5))) for _ in range(200)]


@pytest.mark.parametrize("seed", range(5))
def test_names_beneath_a_path_in_their_order(seed):
    known = list(dict.fromkeys(names(seed)))
    beneath = Beneath(known)
    for path in (*names(seed + 100), "", "a", "a.0"):
        assert beneath(path) == [name for name in known if name.startswith(f"{path}.")]


@pytest.mark.parametrize("seed", range(5))
def test_the_first_path_that_a_name_is_beneath(seed):
    paths = names(seed)[:8]
    owners = Owners(paths)
    for name in names(seed + 100):
        first = next((path for path in paths if not path or name.startswith(f"{path}.")), None)
        assert owners.of(name) == first


def test_what_a_path_is_beneath():
    assert list(above("a.b.c")) == ["a", "a.b"]
    assert list(above("a")) == []
    assert list(above(".a")) == [""]


def test_paths_of_very_many_levels_own_nothing():
    path = ".".join("a" * DEEPEST)
    assert Owners([path]).of(f"{path}.w") == path
    assert Owners([f"{path}.a"]).of(f"{path}.a.w") is None
