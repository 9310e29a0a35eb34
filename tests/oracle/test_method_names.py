"""The tables of method names hold all that torch's own classes have."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from modelscope_cli.containers.method_names import MODULE_METHODS, TENSOR_METHODS

pytest.importorskip("torch")
# In a process of its own: what else is imported here gives torch's classes more methods.
NAMES = """
import json, torch
def methods(cls):
    names = [name for name in dir(cls) if not (name.startswith("__") and name.endswith("__"))]
    return [name for name in names if callable(getattr(cls, name, None))]
modules = [cls for cls in vars(torch.nn).values() if isinstance(cls, type) and issubclass(cls, torch.nn.Module)]
tensors = [torch.Tensor, torch.nn.Parameter]
print(json.dumps([{cls.__name__: methods(cls) for cls in classes} for classes in (modules, tensors)]))
"""


def test_all_methods_are_listed():
    done = subprocess.run([sys.executable, "-c", NAMES], capture_output=True, text=True, check=True)
    modules, tensors = json.loads(done.stdout)
    assert len(modules) > 100
    assert {"forward", "extra_repr"} <= set(modules["Module"])
    assert {name for names in modules.values() for name in names} <= MODULE_METHODS
    assert {name for names in tensors.values() for name in names} <= TENSOR_METHODS
