"""What the graph of an exported program says about its tensors, found in its text.

The JSON of a graph is many times longer than all that is wanted from it, so it is searched instead of parsed:

    "parameter_name": "l.weight"      the signature: which tensors of the state_dict are parameters
    "buffer_name": "bn.running_mean"  and which are buffers
    "nn_module_stack": "L__self__,,Net;L__self__l,l,torch.nn.modules.linear.Linear"    on every node: path and class of each
                                      module around it
"""

from __future__ import annotations

import re
from typing import Any

from modelscope_cli.core.checkpoint import ModuleRecord, Note
from modelscope_cli.formats.torch_archive import Archive

STRING = rb'"((?:[^"\\]|\\.){0,4096})"'
PARAMETER_NAME = re.compile(rb'"parameter_name": ?' + STRING)
BUFFER_NAME = re.compile(rb'"buffer_name": ?' + STRING)
STACK = re.compile(rb'"nn_module_stack": ?"([^"\\]{0,16384})"')
TORCH = re.compile(rb'"torch_version": ?"([\w.+-]{1,40})"')
SCHEMA = re.compile(rb'"schema_version": ?\{"major": ?(\d{1,6}), ?"minor": ?(\d{1,6})\}')
TAIL = 1 << 16  # bytes at the end that are searched for versions
CALLED_AGAIN = re.compile(r"@\d+$")  # a module that is called again is listed as path@1


class Graph:
    """Names of parameters, records of modules, and versions. `signed` when any name was found: then the rest are buffers."""

    def __init__(self) -> None:
        self.parameters: frozenset[str] = frozenset()
        self.signed = False
        self.modules: dict[str, ModuleRecord] = {}
        self.versions: dict[str, Any] = {}


def read_graph(archive: Archive, name: str) -> Graph:
    """Search the graph in a member; one that is too large is only noted."""
    graph = Graph()
    member = archive.members[name]
    if member.size > archive.limits.pickle_bytes:
        message = f"a graph of {member.size:,} bytes: not searched for the roles of tensors and the classes of modules"
        archive.notes.append(Note("graph-skipped", "info", name, message))
        return graph
    return search(archive.read(name, archive.limits.pickle_bytes, "pickle_bytes"), archive.limits.tensors)


def search(text: bytes, most: int) -> Graph:
    """What the text of a graph tells. `most`: modules that are kept."""
    graph = Graph()
    graph.parameters = frozenset(map(_word, PARAMETER_NAME.findall(text)))
    graph.signed = bool(graph.parameters) or BUFFER_NAME.search(text) is not None
    for stack in dict.fromkeys(STACK.findall(text)):
        for entry in stack.decode("utf-8", "replace").split(";"):
            parts = entry.split(",")
            if len(parts) == 3 and len(graph.modules) < most:
                graph.modules.setdefault(CALLED_AGAIN.sub("", parts[1]), ModuleRecord(parts[2], {}))
    tail = text[-TAIL:]
    if match := TORCH.search(tail):
        graph.versions["torch_version"] = match[1].decode()
    if match := SCHEMA.search(tail):
        graph.versions["schema_version"] = f"{int(match[1])}.{int(match[2])}"
    return graph


def _word(raw: bytes) -> str:
    """A JSON string. One with escapes that mean nothing stays as it is written."""
    text = raw.decode("utf-8", "replace")
    if "\\" not in text:
        return text
    import json

    try:
        return str(json.loads(f'"{text}"'))
    except ValueError:
        return text
