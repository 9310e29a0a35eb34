"""torch.export archives (.pt2): the layout of today, that of torch 2.7, and the oldest; and AOTInductor packages."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tests.builders.zip_archive import Entry, zip_bytes

FLOAT, LONG = 7, 5


def payload(
    file: str, shape: Sequence[int], strides: Sequence[int], *, offset: int = 0, dtype: int = FLOAT, parameter: bool = True
) -> dict[str, Any]:
    """What a configuration says of a tensor."""
    numbers = {
        "sizes": [{"as_int": n} for n in shape],
        "strides": [{"as_int": n} for n in strides],
        "storage_offset": {"as_int": offset},
    }
    meta = {"dtype": dtype, "requires_grad": parameter, "device": {"type": "cpu", "index": None}, "layout": 7, **numbers}
    return {"path_name": file, "is_param": parameter, "use_pickle": False, "tensor_meta": meta}


def pickled_payload(file: str) -> dict[str, Any]:
    """What it says of a tensor subclass or a custom object."""
    return {"path_name": file, "is_param": False, "use_pickle": True, "tensor_meta": None}


def graph(parameters: Sequence[str] = (), buffers: Sequence[str] = (), modules: Mapping[str, str] | None = None) -> bytes:
    """The parts of a graph that are looked at."""
    inputs = [{"parameter": {"arg": {"name": "p"}, "parameter_name": name}} for name in parameters]
    inputs += [{"buffer": {"arg": {"name": "b"}, "buffer_name": name, "persistent": True}} for name in buffers]
    stacks = [f"L__self__,,shop.Net;L__self__x,{path},{cls}" for path, cls in (modules or {}).items()]
    nodes = [{"target": "torch.ops.aten.add.Tensor", "metadata": {"nn_module_stack": stack}} for stack in stacks]
    document = {"graph_module": {"graph": {"nodes": nodes}, "signature": {"input_specs": inputs}}}
    return json.dumps({**document, "schema_version": {"major": 8, "minor": 2}, "torch_version": "2.9.0"}).encode()


def export_entries(
    weights: Mapping[str, Any],
    files: Mapping[str, bytes],
    *,
    constants: Mapping[str, Any] | None = None,
    model: str = "model",
    text: bytes | None = None,
    records: Mapping[str, bytes] | None = None,
    stem: str = "net",
) -> list[Entry]:
    """The members of a .pt2; `files` are below data/, and `records` anywhere."""
    members = {f"data/{name}": data for name, data in files.items()}
    members[f"data/weights/{model}_weights_config.json"] = json.dumps({"config": weights}).encode()
    members[f"data/constants/{model}_constants_config.json"] = json.dumps({"config": constants or {}}).encode()
    members[f"models/{model}.json"] = graph() if text is None else text
    members |= {
        "archive_format": b"pt2",
        "archive_version": b"0",
        "byteorder": b"little",
        ".data/version": b"6\n",
        **(records or {}),
    }
    return [Entry(f"{stem}/{name}", data, align=64) for name, data in members.items()]


def old_export_bytes(
    state: bytes, constants: bytes = b"", inputs: bytes = b"", text: bytes | None = None, **options: Any
) -> bytes:
    """The layout of torch 2.1 to 2.6; the parts are torch.save files. `options` are those of each member."""
    members = {
        "serialized_exported_program.json": graph() if text is None else text,
        "serialized_state_dict.pt": state,
        "serialized_constants.pt": constants,
        "serialized_example_inputs.pt": inputs,
        "version": b"8.2",
        "extra_files/note.txt": b"hello",
    }
    return zip_bytes([Entry(name, data, **options) for name, data in members.items()])


def compiled_bytes(
    files: Mapping[str, bytes], weights: Mapping[str, Any] | None = None, stored: Mapping[str, bytes] | None = None
) -> bytes:
    """An AOTInductor package: `files` below data/aotinductor/model, `stored` below data/weights."""
    members = {f"data/aotinductor/model/{name}": data for name, data in files.items()}
    members |= {f"data/weights/{name}": data for name, data in (stored or {}).items()}
    if weights is not None:
        members["data/aotinductor/model/weights_config.json"] = json.dumps(weights).encode()
    members |= {"archive_format": b"pt2", "archive_version": b"0"}
    return zip_bytes([Entry(f"net/{name}", data, align=64) for name, data in members.items()])
