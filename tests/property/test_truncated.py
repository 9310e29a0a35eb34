"""A file cut at any byte gives a result or a ModelscopeError."""

from __future__ import annotations

import pytest

from tests.builders.samples import SAMPLES
from tests.property.reading import check_analyses, read_bytes


@pytest.mark.parametrize("name", SAMPLES)
def test_whole_sample_is_read_and_analysed(name):
    checkpoint = read_bytes(SAMPLES[name], name)
    assert checkpoint is not None
    assert len(checkpoint.tensors)
    check_analyses(checkpoint)


@pytest.mark.parametrize("name", SAMPLES)
def test_cut_anywhere(name):
    data = SAMPLES[name]
    for length in range(len(data)):
        read_bytes(data[:length], name)


@pytest.mark.parametrize("name", SAMPLES)
def test_beginning_missing(name):
    data = SAMPLES[name]
    for start in range(1, len(data), 7):
        read_bytes(data[start:], name)


def test_safetensors_cut_anywhere_is_refused():
    data = SAMPLES["plain.safetensors"]
    assert all(read_bytes(data[:length], "plain.safetensors") is None for length in range(len(data)))


def test_safetensors_cut_anywhere_leniently():
    data = SAMPLES["plain.safetensors"]
    shown = [read_bytes(data[:length], "plain.safetensors", lenient=True) for length in range(len(data))]
    assert any(checkpoint is not None for checkpoint in shown)
    assert all(any(note.severity == "error" for note in checkpoint.notes) for checkpoint in shown if checkpoint is not None)
