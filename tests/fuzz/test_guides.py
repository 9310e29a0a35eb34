"""No code that reads bytes is left out of fuzzing."""

from __future__ import annotations

from tests.fuzz.guides import GUIDES, OF_PATHS, ROOMS, guides, modules
from tests.fuzz.targets import TARGETS


def test_every_module_of_the_readers_guides_a_target() -> None:
    rooms = tuple(f"{room}." for room in ROOMS)
    alone = [name for name in modules() if name.startswith(rooms) and not any(guides(target, name) for target in TARGETS)]
    assert [name for name in alone if not name.startswith(OF_PATHS)] == []


def test_every_target_has_guides_that_are_there() -> None:
    assert set(GUIDES) == set(TARGETS)
    for target, wanted in GUIDES.items():
        for prefix in wanted:
            assert any(name.startswith(prefix) for name in modules()), (target, prefix)
