"""Published files hold as many tensors and elements as torch and safetensors find in them, and every byte is accounted for."""

from __future__ import annotations

import hashlib
import os

import pytest

import modelscope_cli
from modelscope_cli.analysis.grouping import KEYS, Grouping
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.analysis.overview import inspect, to_report
from modelscope_cli.analysis.size_row import total
from modelscope_cli.core.window import open_window
from modelscope_cli.errors import UnsupportedFeatureError
from modelscope_cli.formats.known import recognise
from modelscope_cli.formats.registry import READ_FORMATS
from modelscope_cli.report.document import EVERYTHING
from tests.corpus.fetch import CannotFetchError, fetch, files

pytestmark = pytest.mark.corpus

FILES = files()
NAMED = [file for file in FILES if file.format not in READ_FORMATS]
READ = [file for file in FILES if file.format in READ_FORMATS]


@pytest.fixture(scope="module")
def unreachable():
    """What could not be fetched before, so that it is not tried again for every file."""
    return {}


@pytest.fixture
def path(request, unreachable):
    """The file of a row, fetched if need be: skipped where that cannot be done, but not in CI."""
    file = request.param
    if file.package not in unreachable:
        try:
            return fetch(file)
        except CannotFetchError as problem:
            unreachable[file.package] = str(problem)
    if os.environ.get("CI"):
        pytest.fail(f"cannot be fetched: {unreachable[file.package]}")
    return pytest.skip(f"cannot be fetched: {unreachable[file.package]}")


@pytest.mark.parametrize(
    ("file", "path"), [(file, file) for file in NAMED], ids=[f"{file.package}/{file.path}" for file in NAMED], indirect=["path"]
)
def test_published_file_that_is_named_only(file, path):
    with open_window(str(path)) as window:
        found = recognise(window)
    assert found is not None
    assert found.kind.name == file.format
    with pytest.raises(UnsupportedFeatureError, match="not read yet"):
        modelscope_cli.read(str(path))


@pytest.mark.parametrize(
    ("file", "path"), [(file, file) for file in READ], ids=[f"{file.package}/{file.path}" for file in READ], indirect=["path"]
)
def test_published_file(file, path):
    assert hashlib.sha256(path.read_bytes()).hexdigest() == file.sha256
    checkpoint = modelscope_cli.read(str(path))
    assert checkpoint.format == file.format
    assert len(checkpoint.tensors) == file.tensors
    assert checkpoint.elements == file.elements
    assert checkpoint.nbytes == sum(checkpoint.sections().values())
    assert checkpoint.files[0].nbytes == file.bytes
    ledger = Ledger(checkpoint)
    for key in KEYS:
        rows = Grouping(ledger).rows([key])
        assert (total(rows).nbytes, total(rows).parameters) == (checkpoint.nbytes, ledger.total_parameters()), key
    assert not to_report(inspect(checkpoint), EVERYTHING).failed


def test_list_is_varied():
    assert {file.format for file in FILES} >= {"torch-zip", "torch-legacy", "safetensors", "torchscript", "onnx", "tflite"}
    assert len({file.package for file in FILES}) > 10
    assert len(FILES) > 30
