"""Bytes as they stand in a pickle, whatever instruction writes them; what is put together while loading is none.

Protocol 2 has no bytes: Python writes _codecs.encode(text, 'latin1'). Every other codec gives other bytes than those that a
reader sees, so only that one counts.
"""

from __future__ import annotations

from typing import Any

from modelscope_cli.containers.pickle_nodes import Call, Global

LATIN1 = frozenset({"latin1", "latin-1", "latin_1", "iso-8859-1", "iso8859-1", "l1"})


def literal_bytes(node: Any) -> bytes | None:
    """The bytes that a node of a pickle is, or None where only loading would tell."""
    kind = type(node)
    if kind is bytes:
        found: bytes = node
        return found
    if kind is str:  # Python 2 had one type for both
        text: str = node
        return text.encode("utf-8", "surrogatepass")
    if kind is not Call or type(node.function) is not Global or type(node.args) is not tuple or len(node.args) != 2:
        return None
    if (node.function.module, node.function.name) != ("_codecs", "encode") or node.state is not None:
        return None
    written, codec = node.args
    if type(written) is not str or type(codec) is not str or codec.lower() not in LATIN1:
        return None
    try:
        return written.encode("latin-1")
    except UnicodeEncodeError:
        return None
