"""A scene as a Graphviz document, every place fixed: `dot`, `neato -n2` and `nop2` only paint it.

Cards are nodes named block1, block2 …, tied together by edges and nested in clusters, so that the document is still the
graph of the model; texts, stripes and bars are nodes without a name of their own. Graphviz counts upwards and in inches:
y is turned round here. Escapes of its label language (\\N, \\l, &amp;) are written so that names come out as they are.
"""

from __future__ import annotations

from collections.abc import Iterator

from modelscope_cli.render.curves import before_head, bezier
from modelscope_cli.render.letters import width
from modelscope_cli.report.scene import LEFT, RIGHT, Arrow, Box, Frame, Item, Scene, Words

FONT = "Helvetica"
JUSTIFIED = {LEFT: "\\l", RIGHT: "\\r"}
POINTS = 72.0  # in an inch
SPARE = 1.2  # of the width of a text: fonts that are wider still, signs for letters that are missing

COMMENT = """// Every place in this drawing is fixed: dot, neato -n2 and nop2 paint it as it is.
"""


def render(scene: Scene) -> str:
    """The document."""
    return "".join(Document(scene).text())


def quoted(text: str) -> str:
    """A string of the language: nothing in it is an escape or an entity."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;").replace("\n", " ") + '"'


def tooltip(text: str) -> str:
    """A string as quoted() writes it, for an attribute that Graphviz takes the escapes out of twice."""
    return quoted(text.replace("\\", "\\\\"))


def number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") or "0"


class Document:
    """Writes one scene. Names of nodes are given out in the order of painting."""

    def __init__(self, scene: Scene):
        self.scene = scene
        self.height = scene.height
        self.nodes = 0
        self.clusters = 0

    def text(self) -> Iterator[str]:
        scene = self.scene
        yield COMMENT
        yield f"digraph {quoted(scene.title)} {{\n"
        box = f"0,0,{number(scene.width)},{number(scene.height)}"
        yield f'  graph [layout=nop2 bb="{box}" bgcolor="{scene.background}" pad=0 margin=0 charset="UTF-8" outputorder=breadthfirst];\n'
        yield f'  node [shape=box style=filled label="" fixedsize=true margin=0 peripheries=0 fontname={FONT}];\n'
        yield "  edge [arrowsize=0.8];\n"
        for x, y in ((0.0, 0.0), (scene.width, scene.height)):  # what the page reaches to, whatever is on it
            yield f'  {self.name()} [pos="{number(x)},{number(y)}" width=0 height=0 style=invis];\n'
        for item in scene.items:
            yield from self.item(item, "  ")
        yield "}\n"

    def item(self, item: Item, indent: str) -> Iterator[str]:
        if isinstance(item, Box):
            yield indent + self.box(item)
        elif isinstance(item, Words):
            yield indent + self.words(item)
        elif isinstance(item, Arrow):
            yield indent + self.arrow(item)
        else:
            yield from self.frame(item, indent)

    def frame(self, frame: Frame, indent: str) -> Iterator[str]:
        """A cluster: its box is painted by itself, under what is inside."""
        box = frame.box
        self.clusters += 1
        low, high = self.height - box.y - box.height, self.height - box.y
        corners = ",".join(map(number, (box.x, low, box.x + box.width, high)))
        yield f"{indent}subgraph cluster_{self.clusters} {{\n"
        yield (
            f'{indent}  graph [bb="{corners}" style="rounded,filled" fillcolor="{box.fill}" color="{box.stroke}"'
            f" penwidth={number(box.line)} tooltip={tooltip(box.tooltip)}];\n"
        )
        for item in frame.items:
            yield from self.item(item, indent + "  ")
        yield f"{indent}}}\n"

    def box(self, box: Box) -> str:
        attributes = [self.place(box.x + box.width / 2, box.y + box.height / 2, box.width, box.height)]
        attributes.append(f'fillcolor="{box.fill or "transparent"}"')
        styles = ["filled"] + ["rounded"] * box.rounded + ["dashed"] * box.dashed
        if len(styles) > 1:
            attributes.append(f'style="{",".join(styles)}"')
        if box.stroke:
            attributes.append(f'color="{box.stroke}" peripheries=1 penwidth={number(box.line)}')
        if box.tooltip:
            attributes.append(f"tooltip={tooltip(box.tooltip)}")
        return f"{quoted(box.name) if box.name else self.name()} [{' '.join(attributes)}];\n"

    def words(self, words: Words) -> str:
        """A node wider than the text, on the side of its anchor; in a narrower one Graphviz would set it about the middle."""
        room = {LEFT: self.scene.width - words.x, RIGHT: words.x}.get(words.anchor, self.scene.width)
        wide = min(width(words.text, words.size, bold=words.bold) * SPARE + 2, room)
        centre = words.x + (wide / 2 if words.anchor == LEFT else -wide / 2 if words.anchor == RIGHT else 0)
        label = quoted(words.text)[:-1] + JUSTIFIED.get(words.anchor, "") + '"'
        font = f'fontname="{FONT}-Bold" ' if words.bold else ""
        return (
            f"{self.name()} [{self.place(centre, words.y, wide, words.size * 1.7)} shape=plaintext style=solid label={label}"
            f' {font}fontsize={number(words.size)} fontcolor="{words.ink}"];\n'
        )

    def arrow(self, arrow: Arrow) -> str:
        """An edge along straight pieces with rounded corners; with a head it ends where the point begins."""
        points = [(x, self.height - y) for x, y in arrow.points]
        tip = ""
        if arrow.head:
            tip = "e,{},{} ".format(*map(number, points[-1]))
            points = before_head(points)
        curve = " ".join(f"{number(x)},{number(y)}" for x, y in bezier(points))
        styles = f' style=dashed color="{arrow.ink}"' if arrow.dashed else f' color="{arrow.ink}"'
        head = "" if arrow.head else " dir=none"
        return (
            f'{quoted(arrow.tail_name)} -> {quoted(arrow.head_name)} [pos="{tip}{curve}"{styles}'
            f" penwidth={number(arrow.line)}{head}];\n"
        )

    def place(self, x: float, y: float, wide: float, high: float) -> str:
        return f'pos="{number(x)},{number(self.height - y)}" width={wide / POINTS:.4f} height={high / POINTS:.4f}'

    def name(self) -> str:
        self.nodes += 1
        return f"n{self.nodes}"
