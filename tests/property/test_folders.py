"""Sets of files, one of which is cut or has any byte changed: a result or a ModelscopeError, accounted for to the byte."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelscope_cli.core.checkpoint import Checkpoint
from modelscope_cli.core.limits import DEFAULT_LIMITS
from modelscope_cli.errors import ModelscopeError
from modelscope_cli.formats.locate import locate
from modelscope_cli.formats.registry import read_target
from tests.builders.dcp_folder import PATHS, TRAINING, dcp_files, write
from tests.builders.sets import ROW_PIECES, ZERO_SHAPES, distributed_safetensors, llama_slices, zero_files
from tests.property.reading import check_analyses

SETS = {
    "dcp": dcp_files(TRAINING, paths=PATHS),
    "distributed safetensors": distributed_safetensors(ROW_PIECES),
    "slices": llama_slices(2, params={"dim": 8}),
    "zero 2": zero_files(ZERO_SHAPES, 2),
    "zero 3": zero_files(ZERO_SHAPES, 2, stage=3),
}
EXAMPLES = settings(
    max_examples=60,
    deadline=8_000,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    derandomize=True,
    database=None,
)
FILES = [(kind, name) for kind, files in SETS.items() for name in files]


def read_set(folder, files) -> list[Checkpoint]:
    """The checkpoints in a folder, checked; none where reading raised a ModelscopeError. Anything else that is raised is a bug."""
    found = []
    targets = locate([str(folder)])
    assert targets.found or targets.problems
    for target in targets.found:
        try:
            checkpoint = read_target(target, DEFAULT_LIMITS)
        except ModelscopeError:
            continue
        sizes = {str(folder / name): len(data) for name, data in files.items()}
        for file, byte_map in zip(checkpoint.files, checkpoint.byte_maps, strict=True):
            position = 0
            for region in byte_map.regions:
                assert region.start == position
                assert region.stop > region.start
                position = region.stop
            assert position == file.nbytes == sizes[file.path]
            assert sum(byte_map.totals().values()) == file.nbytes
        check_analyses(checkpoint)
        found.append(checkpoint)
    return found


@pytest.mark.parametrize("kind", SETS)
def test_whole_set_is_read(kind, tmp_path):
    (checkpoint,) = read_set(write(tmp_path, SETS[kind]), SETS[kind])
    assert not [note for note in checkpoint.notes if note.severity == "error"]


@pytest.mark.parametrize(("kind", "name"), FILES)
def test_one_file_cut_anywhere(kind, name, tmp_path):
    files = dict(SETS[kind])
    write(tmp_path, files)
    for length in range(0, len(SETS[kind][name]), 1 + len(SETS[kind][name]) // 120):
        files[name] = SETS[kind][name][:length]
        (tmp_path / name).write_bytes(files[name])
        read_set(tmp_path, files)


@pytest.mark.parametrize(("kind", "name"), FILES)
def test_one_file_with_bytes_flipped(kind, name, tmp_path):
    files = dict(SETS[kind])
    write(tmp_path, files)
    for position in range(0, len(SETS[kind][name]), 1 + len(SETS[kind][name]) // 400):
        data = bytearray(SETS[kind][name])
        data[position] ^= 1 << position % 8
        files[name] = bytes(data)
        (tmp_path / name).write_bytes(files[name])
        read_set(tmp_path, files)


@pytest.mark.parametrize("kind", SETS)
@EXAMPLES
@given(which=st.integers(0, 9), edits=st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), min_size=1, max_size=4))
def test_bytes_replaced(kind, which, edits, tmp_path):
    files = dict(SETS[kind])
    name = sorted(files)[which % len(files)]
    data = bytearray(files[name])
    for position, byte in edits:
        data[position % len(data)] = byte
    files[name] = bytes(data)
    read_set(write(tmp_path, files), files)


@pytest.mark.parametrize(("kind", "name"), FILES)
def test_one_file_lost(kind, name, tmp_path):
    files = {other: data for other, data in SETS[kind].items() if other != name}
    read_set(write(tmp_path, files), files)
