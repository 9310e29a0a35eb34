"""docs/adding_a_format.md: its reader, taken out of the page and put in its place, reads what numpy writes."""

from __future__ import annotations

import contextlib
import re
from importlib import import_module
from pathlib import Path

import pytest

from modelscope_cli import read
from modelscope_cli.errors import ModelscopeError
from modelscope_cli.formats import registry

PAGE = Path(__file__).parent.parent / "docs" / "adding_a_format.md"
MODULE = "npy_reader_of_the_page"
DTYPES = ("<f4", ">f8", "<i2", "|u1", "|b1", "<c8", "<f2", "<U3")


@pytest.fixture
def added(tmp_path, monkeypatch):
    """The reader and the row of the page, as if they were there."""
    reader, row = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    folder = tmp_path / "module"
    folder.mkdir()
    (folder / f"{MODULE}.py").write_text(reader)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(__import__("sys").modules, MODULE, raising=False)
    made = eval(row, {"Format": registry.Format})
    assert made.module == "modelscope_cli.formats.npy"
    monkeypatch.setattr(registry, "FORMATS", (*registry.FORMATS, made._replace(module=MODULE)))
    return import_module(MODULE)


@pytest.mark.oracle
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (3,), (2, 3, 4), (0, 5)], ids=str)
def test_it_reads_what_numpy_writes(added, tmp_path, dtype, shape):
    numpy = pytest.importorskip("numpy")
    for order in "CF":
        array = numpy.zeros(shape, dtype, order=order)
        path = tmp_path / "array.npy"
        numpy.save(path, array)
        checkpoint = read(str(path))
        (tensor,) = checkpoint.tensors
        assert tensor.shape == shape
        assert tensor.dtype.name == {"bool": "bool", "<U3": "<U3"}.get(str(array.dtype), str(array.dtype.newbyteorder("=")))
        assert sum(checkpoint.sections().values()) == path.stat().st_size
        assert checkpoint.sections().get("data", 0) == array.nbytes
        if tensor.strides is not None:
            assert [stride * array.itemsize for stride in tensor.strides] == list(array.strides)


def test_damage_is_an_error_and_nothing_else(added, tmp_path):
    numpy = pytest.importorskip("numpy")
    path = tmp_path / "array.npy"
    numpy.save(path, numpy.zeros((2, 3), "<f4"))
    whole = path.read_bytes()
    for length in range(8, len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelscopeError):
            read(str(path))
    for place in range(8, 128):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        with contextlib.suppress(ModelscopeError):
            assert sum(read(str(path)).sections().values()) == len(whole)


def test_the_page_names_what_is_there():
    text = PAGE.read_text()
    repository = PAGE.parent.parent
    for path in (
        "formats/registry.py",
        "formats/known_models.py",
        "formats/catalogue.py",
        "formats/composites.py",
        "formats/parts.py",
        "formats/problems.py",
    ):
        assert path in text
        assert (repository / "modelscope_cli" / path).is_file()
    assert hasattr(registry, "READ_FORMATS")
