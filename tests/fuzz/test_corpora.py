"""Every input that fuzzing has kept still gives a result or a ModelscopeError, and mutators make what they say."""

from __future__ import annotations

import io
import zipfile

import pytest

from tests.builders.samples import SAMPLES
from tests.fuzz.corpora import inputs
from tests.fuzz.mutators import Chance, aware, instructions
from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_what_fuzzing_has_kept(name: str) -> None:
    for data in inputs(name):
        TARGETS[name].run(data)


def backwards(data: bytes) -> bytes:
    return data[::-1]


@pytest.mark.parametrize("name", ["state_dict.pt", "legacy.pth", "old.tar", "plain.safetensors", "package.pt"])
def test_changes_differ(name: str) -> None:
    made = {aware(SAMPLES[name], Chance(seed), backwards) for seed in range(50)}
    assert len(made) > 25
    assert None not in made


def test_a_changed_zip_has_right_sums() -> None:
    for seed in range(50):
        changed = aware(SAMPLES["module.pth"], Chance(seed), backwards)
        assert changed is not None
        with zipfile.ZipFile(io.BytesIO(changed)) as archive:
            assert archive.testzip() is None


def test_a_changed_tar_has_right_sums() -> None:
    found = 0
    for seed in range(50):
        changed = aware(SAMPLES["old.tar"], Chance(seed), backwards)
        assert changed is not None
        header = changed[:512]
        found += int(header[148:154], 8) == sum(header[:148]) + sum(b" " * 8) + sum(header[156:])
    assert found == 50


@pytest.mark.parametrize("name", ["legacy.pth", "bare.pkl"])
def test_instructions_join_to_what_they_were_cut_from(name: str) -> None:
    pieces = instructions(SAMPLES[name])
    assert b"".join(pieces) == SAMPLES[name]
    assert len(pieces) > 15
