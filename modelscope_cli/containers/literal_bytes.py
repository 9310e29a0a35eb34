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
    source = source_of_bytes(node)
    if not isinstance(source, str):
        return source
    try:
        return source.encode("utf-8", "surrogatepass") if source is node else source.encode("latin-1")
    except UnicodeEncodeError:
        return None


def source_of_bytes(node: object) -> bytes | str | None:
    """The bytes, or the text that they are written as: the same for each that is made of it. None where only loading would tell."""
    if isinstance(node, bytes | str):  # Python 2 had one type for both
        return node
    if type(node) is not Call or type(node.function) is not Global or type(node.args) is not tuple or len(node.args) != 2:
        return None
    if (node.function.module, node.function.name) != ("_codecs", "encode") or node.state is not None:
        return None
    written, codec = node.args
    return written if type(written) is str and type(codec) is str and codec.lower() in LATIN1 else None
