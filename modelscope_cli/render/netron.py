"""A diagram as Netron draws it: its own JSON form, connected and folded, some kB whatever the size of the model.

    {"signature": "netron:…", "format", "description", "graphs": [{"values", "nodes": [
        {"type": {"name", "category"}, "name",
         "inputs": [{"name", "value": [index of a value]}], "outputs": …,
         "attributes": [{"name", "type", "value"}]}]}]}

Read from message.js and view.js of Netron 9.3.3. A value with an initializer is a row in the box of its node, others are
arrows. An attribute of type graph is a graph inside a node; what is inside it is taken as it stands, with values in the place
of indices. Netron takes the kind of a node from behind its last dot, and cuts it at 21 characters and attributes at 12.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

from modelscope_cli.render.cells import words
from modelscope_cli.render.plain import visible
from modelscope_cli.render.units import count as short
from modelscope_cli.report.diagram import TIED, Card, Diagram, Group, Line

SIGNATURE = "netron:mscope"
CATEGORIES = {  # of Netron, which gives them their colours
    "embedding": "Transform",
    "attention": "Attention",
    "mlp": "Layer",
    "norm": "Normalization",
    "conv": "Layer",
    "head": "Layer",
    "linear": "Layer",
    "recurrent": "Layer",
}
LONGEST = 48  # characters of a row; a box is as wide as its longest
SHOWN = 21  # characters of a kind that Netron shows
LONGEST_NAME = 1_000  # of what is shown beside the drawing

Tensor = tuple[str, str, tuple[int, ...]]  # name, dtype, shape
Json = dict[str, Any]


def render(diagram: Diagram, format: str, tensors: Mapping[str, Sequence[Tensor]]) -> bytes:
    """The document. `tensors` are those of a line, by its path; a line without any shows its detail."""
    body = unwrapped(diagram.body)
    graph = Writer(tensors).graph(body, 0)
    values: list[Json] = []
    for node in graph["nodes"]:
        for argument in (*node["inputs"], *node["outputs"]):
            argument["value"] = [index_in(values, value) for value in argument["value"]]
    document = {
        "signature": SIGNATURE,
        "format": visible(format),
        "producer": "mscope",
        "description": written(
            ". ".join([diagram.title, *(words(fact, "iec") for fact in diagram.facts), *diagram.captions]), LONGEST_NAME
        ),
        "graphs": [{**graph, "values": values}],
    }
    return json.dumps(document, separators=(",", ":")).encode()  # ASCII, and so whatever a name may hold


def unwrapped(body: Group) -> Group:
    """The blocks without the one module that wraps nearly all of them, so that arrows lead on from inside it."""
    while True:
        inner = [block for block in body.blocks if isinstance(block, Group)]
        if len(inner) != 1 or inner[0].fold != 1 or not inner[0].blocks:
            return body
        at = list(body.blocks).index(inner[0])
        body = body._replace(
            blocks=[*body.blocks[:at], *inner[0].blocks, *body.blocks[at + 1 :]],
            flows=[*body.flows[:at], *inner[0].flows, *body.flows[at:]],
        )


def index_in(values: list[Json], value: Json) -> int:
    """The place of a value in a list that grows with it. Arrows are the same by name."""
    for index, known in enumerate(values):
        if "initializer" not in known and known == value:
            return index
    values.append(value)
    return len(values) - 1


class Writer:
    """Writes graphs. Arrows are numbered through, since one name in two graphs would tie these together.

    Names are as in the file, less the path of the group around them: `above` is how many of their parts that is.
    """

    def __init__(self, tensors: Mapping[str, Sequence[Tensor]]):
        self.tensors = tensors
        self.arrows = count(1)

    def graph(self, group: Group, above: int) -> Json:
        """What is inside a group, and the arrows between."""
        nodes = [self.block(block, above) for block in group.blocks]
        for place, flows in enumerate(group.flows):
            if flows:
                arrow = {"name": f"arrow {next(self.arrows)}"}
                nodes[place]["outputs"].append({"name": "out", "value": [arrow]})
                nodes[place + 1]["inputs"].insert(0, {"name": "in", "value": [dict(arrow)]})
        return {"nodes": nodes, "inputs": [], "outputs": []}

    def block(self, block: Card | Group, above: int) -> Json:
        """A node: for a group one with a graph in it, unless a single card is inside."""
        if isinstance(block, Card):
            return self.card(block, above)
        parts = block.path.split(".")
        kind = times(block.fold, block.kind or (parts[-1] if block.fold == 1 else "modules"))
        path = written(".".join(parts[above:]), LONGEST)
        attributes = [attribute("parameters", short(block.each * block.fold))]
        if len(block.blocks) == 1 and isinstance(block.blocks[0], Card):
            inner = self.card(block.blocks[0], above if block.fold == 1 else len(parts))
            if block.fold > 1:  # Netron cuts what an attribute is, and not how it is called
                attributes.insert(0, attribute(path, f"each {short(block.each)}"))
            category = inner["type"].get("category", "") if len({line.category for line in block.blocks[0].lines}) == 1 else ""
            return node(kind, category, block.path, inner["inputs"], attributes)
        name = f"one of {block.fold:,}" if block.fold > 1 else "modules"
        graph = {**self.graph(block, len(parts)), "name": name}
        if block.fold > 1:
            attributes.insert(0, attribute("each", short(block.each)))
        attributes.append({"name": path, "type": "graph", "value": graph})
        return node(kind, "", block.path, [], attributes)

    def card(self, card: Card, above: int) -> Json:
        """A node with a row for each tensor of its lines."""
        kinds = dict.fromkeys([line.kind for line in card.lines])
        kind = card.kind or card.title or (" + ".join(kinds) if len(kinds) < 3 else f"{len(card.lines)} modules")
        parameters = card.parameters if card.title else sum([line.parameters * line.fold for line in card.lines])
        category = max(card.lines, key=lambda line: line.share).category
        rows = [row for line in card.lines for row in self.rows(line, above)]
        path = card.path or ", ".join([line.path for line in card.lines])
        attributes = [attribute("parameters", short(parameters))] if parameters else []
        return node(kind, CATEGORIES.get(category, ""), path, rows, attributes)

    def rows(self, line: Line, above: int) -> list[Json]:
        """The tensors of a line, or the line itself."""
        note = f", {line.note}" if line.mark == TIED else ""
        held = self.tensors.get(line.path)
        if not held:
            return [row(times(line.fold, below(line.path, above)) + note, "", (line.detail or line.kind,))]
        return [row(times(line.fold, below(name, above)) + note, dtype, shape) for name, dtype, shape in held]


def below(path: str, above: int) -> str:
    """A path without so many of its first parts."""
    parts = path.split(".")
    return ".".join(parts[above:]) or parts[-1]


def times(number: int, kind: str) -> str:
    """Several of a kind, with less space where Netron would cut it otherwise."""
    if number == 1:
        return kind
    written = f"{number:,} × {kind}"
    return written if len(written) <= SHOWN else f"{number:,}× {kind}"


def node(kind: str, category: str, path: str, rows: list[Json], attributes: list[Json]) -> Json:
    name = written(path, LONGEST_NAME)
    return {
        "type": {"name": undotted(kind), **({"category": category} if category else {})},
        "name": name,
        "inputs": rows,
        "outputs": [],
        "attributes": attributes,
    }


def row(name: str, dtype: str, shape: Sequence[int | str]) -> Json:
    """A tensor in the box of a node, or words in its place. Netron would look for the value of one without dimensions."""
    dimensions = [visible(size) if isinstance(size, str) else size for size in shape] or ["scalar"]
    kind = {"dataType": visible(dtype), "shape": {"dimensions": dimensions}}
    tensor = {"name": written(name, LONGEST_NAME), "initializer": {"type": kind}, "type": f"{dtype}[{dimensions}]"}
    return {"name": written(name, LONGEST), "value": [tensor]}


def attribute(name: str, value: str) -> Json:
    return {"name": name, "type": "string", "value": value}


def undotted(kind: str) -> str:
    """A kind as Netron shows it whole: it would leave out what is before a full stop."""
    return written(kind, LONGEST_NAME).replace(".", "․")


def written(text: str, room: int) -> str:
    """The text, made harmless, or its beginning and end where it is longer than the room."""
    text = visible(text)
    return text if len(text) <= room else f"{text[: room // 2]}…{text[len(text) - room // 2 + 1 :]}"
