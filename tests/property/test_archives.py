"""Small archives of every kind, cut or with a byte changed, are read or refused with a ModelscopeError; nothing else happens."""

from __future__ import annotations

import gc
import os
import random

import pytest

from modelscope_cli.errors import ModelscopeError
from modelscope_cli.formats.locate import locate
from modelscope_cli.formats.registry import read_target
from tests.builders.archives import KINDS, MODEL
from tests.property.reading import check_byte_maps

CHANGES = 150  # of each kind


@pytest.fixture
def check(tmp_path):
    """Reads bytes as a file, with all that is in it; how many models there were."""

    def run(data: bytes, name: str) -> int:
        path = tmp_path / name
        path.write_bytes(data)
        located = locate([str(path)])
        assert all(isinstance(problem, ModelscopeError) for problem in located.problems)
        count = 0
        for target in located.found:
            try:
                checkpoint = read_target(target)
            except ModelscopeError:
                continue
            check_byte_maps(checkpoint, checkpoint.nbytes)
            count += 1
        return count

    return run


@pytest.mark.parametrize("name", KINDS)
def test_cut(check, name):
    data = KINDS[name]
    assert check(data, name) == 1
    lengths = sorted(random.Random(name).sample(range(len(data)), min(CHANGES, len(data))))
    found = [check(data[:length], name) for length in lengths]
    assert not any(found) or ".tar" in name or name.endswith(".nemo")  # a tar may lack its blocks of zeros


@pytest.mark.parametrize("name", KINDS)
def test_flipped(check, name):
    data, chance = KINDS[name], random.Random(name)
    for _ in range(CHANGES):
        at = chance.randrange(len(data))
        check(data[:at] + bytes([data[at] ^ chance.randrange(1, 256)]) + data[at + 1 :], name)


@pytest.mark.parametrize("name", KINDS)
def test_no_file_is_left_open(check, name):
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("there is no list of open files")
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    for length in (len(KINDS[name]), len(KINDS[name]) // 2, len(KINDS[name]) - len(MODEL) // 3):
        check(KINDS[name][:length], name)
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before
