"""The tables of method names hold all that torch's own classes have."""

from __future__ import annotations

import pytest

from modelscope_cli.containers.method_names import MODULE_METHODS, TENSOR_METHODS

torch = pytest.importorskip("torch")


def methods(cls):
    names = [name for name in dir(cls) if not (name.startswith("__") and name.endswith("__"))]
    return {name for name in names if callable(getattr(cls, name, None))}


def test_of_tensors():
    assert methods(torch.Tensor) | methods(torch.nn.Parameter) <= TENSOR_METHODS


def test_of_modules():
    classes = [cls for cls in vars(torch.nn).values() if isinstance(cls, type) and issubclass(cls, torch.nn.Module)]
    assert len(classes) > 100
    for cls in classes:
        assert methods(cls) <= MODULE_METHODS, cls
