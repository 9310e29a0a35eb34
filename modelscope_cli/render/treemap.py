"""A treemap as a scene: one sheet on which every module is a rectangle as large as its bytes.

Rectangles are squarified, the largest first; numbered modules of about one size stand in rows, in reading order. What is too small to
see is not divided further, and takes the colour of most of it.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from modelscope_cli.render.letters import fitted, width
from modelscope_cli.render.page_parts import FACT, LINE, SQUARE, TITLE, wrapped
from modelscope_cli.render.palette import Palette, category_colour, category_name, mixed
from modelscope_cli.render.plain import visible
from modelscope_cli.render.units import percent, size
from modelscope_cli.report.scene import RIGHT, Box, Item, Scene, Words
from modelscope_cli.report.treemap import Node, Treemap

WIDTH, HEIGHT = 1_200.0, 760.0  # of the map
MARGIN = 36.0
SMALL = 9.5  # letters on the map
HEAD = 15.0  # of a module that is large enough to be named
PADDING = 2.0
LEAST_SIDE = 8.0  # of a rectangle, and of the parts it is divided into, on the whole
NAMED_WIDTH, NAMED_HEIGHT = 34.0, 30.0  # from which a module has a head
MOST_BOXES = 8_000
GRID = 4  # numbered siblings from which they stand in rows, if they are of about one size, as in the page
MOSTLY = 0.6  # of them more than half as large as the largest
LEAF_TINT, MODULE_TINT = 0.72, 0.10  # how much colour is in a leaf, and in a module around leaves


class Rectangle(NamedTuple):
    x: float
    y: float
    width: float
    height: float


def lay_out(treemap: Treemap, top: Node, path: str, levels: int | None, palette: Palette) -> Scene:
    """The scene of one node and what is in it, down to so many levels. `path` is where it stands, "" for all."""
    sheet = Sheet(treemap, palette, levels)
    header = sheet.header(top, path)
    place = Rectangle(MARGIN, header, WIDTH, HEIGHT)
    sheet.divide(top, path, place)
    y = header + HEIGHT + 14
    for text in wrapped("Areas are bytes in the file. What is too small to divide has the colour of most of it.", WIDTH, SMALL):
        sheet.items.append(Words(MARGIN, y + SMALL / 2, text, SMALL, palette.soft))
        y += SMALL * LINE
    return Scene(visible(f"{path or treemap.title} treemap"), WIDTH + 2 * MARGIN, y + MARGIN, palette.paper, sheet.items)


class Sheet:
    """Collects the items of a treemap."""

    def __init__(self, treemap: Treemap, palette: Palette, levels: int | None):
        self.treemap = treemap
        self.palette = palette
        self.levels = levels
        self.items: list[Item] = []
        self.boxes = 1
        self.colours: dict[int, str] = {}  # of a node, by its identity: the category most of its bytes have

    def header(self, top: Node, path: str) -> float:
        """Title, facts and legend; returns the height below them."""
        palette, treemap = self.palette, self.treemap
        y = MARGIN
        title = f"{path}  in {treemap.title}" if path else treemap.title
        self.items.append(
            Words(MARGIN, y + TITLE / 2, fitted(visible(title[:400]), WIDTH, TITLE, bold=True), TITLE, palette.ink, bold=True)
        )
        y += TITLE * LINE
        share = f" ({percent(top.nbytes / treemap.root.nbytes)} % of the file)" if path and treemap.root.nbytes else ""
        facts = [
            f"{size(top.nbytes, 'iec')}{share}",
            f"{top.parameters:,} parameters",
            f"{top.tensors:,} tensor{'s' * (top.tensors != 1)}",
            *treemap.facts,
        ]
        self.items.append(Words(MARGIN, y + FACT / 2, fitted(visible(" · ".join(facts)), WIDTH, FACT), FACT, palette.soft))
        y += FACT * LINE + 6
        x = MARGIN
        for category, nbytes in self.totals(top):
            text = f"{category_name(category)}  {percent(nbytes / top.nbytes if top.nbytes else 0)} %"
            wide = SQUARE + 6 + width(text, FACT) + 16
            if x + wide > MARGIN + WIDTH:
                x, y = MARGIN, y + FACT * LINE
            self.items.append(Box(x, y, SQUARE, SQUARE, self.leaf_fill(category)))
            self.items.append(Words(x + SQUARE + 6, y + SQUARE / 2, text, FACT, palette.soft))
            x += wide
        return y + SQUARE + 18

    def totals(self, top: Node) -> list[tuple[str, int]]:
        """Bytes by category, of the leaves below a node, the most first. Each distinct node is summed once."""
        sums: dict[int, dict[str, int]] = {}
        for number, node in enumerate(self.treemap.nodes):
            mine: dict[str, int] = {}
            if not node.children:
                mine[node.category] = node.nbytes
            for child in node.children:
                for category, nbytes in sums[child].items():
                    mine[category] = mine.get(category, 0) + nbytes
            sums[number] = mine
            self.colours[id(node)] = max(mine, key=lambda category: mine[category], default=node.category)
        number = next(number for number, node in enumerate(self.treemap.nodes) if node is top)
        return sorted(((category, nbytes) for category, nbytes in sums[number].items() if nbytes), key=lambda pair: -pair[1])

    def leaf_fill(self, category: str) -> str:
        return mixed(self.palette.paper, category_colour(category), LEAF_TINT)

    def divide(self, top: Node, path: str, place: Rectangle) -> None:
        """Draw a node and divide it, the largest first, until it is too small or there are boxes enough."""
        waiting = deque([(path, path.rpartition(".")[2] or self.treemap.title, top, place, 0)])
        while waiting:
            where, name, node, area, level = waiting.popleft()
            inside = [(child, below) for child, below in self.treemap.children(node) if below.nbytes]
            while len(inside) == 1 and level:  # a Linear without a bias is its weight
                where, node = f"{where}.{inside[0][0]}" if where else inside[0][0], inside[0][1]
                inside = [(child, below) for child, below in self.treemap.children(node) if below.nbytes]
            fits = bool(inside) and (area.width * area.height / len(inside)) ** 0.5 >= LEAST_SIDE
            deeper = self.levels is None or level < self.levels
            divided = fits and deeper and min(area.width, area.height) >= LEAST_SIDE and self.boxes + len(inside) <= MOST_BOXES
            label = name if divided or not inside else f"{name} ({len(inside):,})"
            room = self.draw(where, label, node, area, divided=divided)
            if divided:
                self.boxes += len(inside)
                for (child, below), part in zip(*arranged(inside, room), strict=True):
                    waiting.append((f"{where}.{child}" if where else child, child, below, part, level + 1))

    def draw(self, where: str, name: str, node: Node, area: Rectangle, *, divided: bool) -> Rectangle:
        """One rectangle and its name; returns the room left inside it."""
        palette = self.palette
        category = self.colours.get(id(node), node.category)
        fill = mixed(palette.paper, category_colour(category), MODULE_TINT if divided else LEAF_TINT)
        shape = " × ".join(f"{extent:,}" for extent in node.shape) + f" {node.dtype}" if node.shape is not None else node.kind
        tooltip = f"{where or self.treemap.title}: {shape + ', ' if shape else ''}{node.nbytes:,} bytes"
        self.items.append(
            Box(*area, fill, palette.paper if not divided else palette.border, 0.6, tooltip=visible(tooltip[:400]))
        )
        if area.width < NAMED_WIDTH or area.height < HEAD:
            return inset(area, 0.0 if min(area.width, area.height) < 12 else 1.0, 0.0)
        figure = size(node.nbytes, "iec")
        room = area.width - 8
        middle = area.y + HEAD / 2 + 0.5
        text = fitted(visible(name[:200]), room, SMALL, bold=divided)
        if text and (text == visible(name) or width(text, SMALL) > 20):
            self.items.append(Words(area.x + 4, middle, text, SMALL, palette.ink, bold=divided))
        if width(visible(name), SMALL, bold=divided) + width(figure, SMALL) + 12 <= room:
            self.items.append(
                Words(
                    area.x + area.width - 4, middle, figure, SMALL, palette.ink if not divided else palette.soft, anchor=RIGHT
                )
            )
        elif not divided and area.height >= 2 * HEAD and width(figure, SMALL) <= room:
            self.items.append(Words(area.x + 4, middle + HEAD - 2, figure, SMALL, palette.ink))
        return inset(area, PADDING, HEAD if area.height >= NAMED_HEIGHT else 0.0)


def inset(area: Rectangle, padding: float, head: float) -> Rectangle:
    top = max(head, padding)
    return Rectangle(area.x + padding, area.y + top, max(0.0, area.width - 2 * padding), max(0.0, area.height - top - padding))


def arranged(inside: list[tuple[str, Node]], room: Rectangle) -> tuple[list[tuple[str, Node]], list[Rectangle]]:
    """The children in the order they are placed, and their rectangles."""
    import squarify

    largest = max(node.nbytes for _, node in inside)
    alike = sum(2 * node.nbytes > largest for _, node in inside) >= MOSTLY * len(inside)
    if len(inside) >= GRID and alike and all(name.isdecimal() for name, _ in inside):
        return inside, in_rows([node.nbytes for _, node in inside], room)
    ordered = sorted(inside, key=lambda pair: -pair[1].nbytes)
    sizes = squarify.normalize_sizes([node.nbytes for _, node in ordered], room.width, room.height)
    placed = squarify.squarify(sizes, room.x, room.y, room.width, room.height)
    return ordered, [Rectangle(part["x"], part["y"], part["dx"], part["dy"]) for part in placed]


def in_rows(sizes: list[int], room: Rectangle) -> list[Rectangle]:
    """Rectangles in reading order, in as many rows as make them nearest to square."""
    whole = sum(sizes)
    rows = max(1, min(len(sizes), round((len(sizes) * room.height / max(room.width, 1e-9)) ** 0.5)))
    each = -(-len(sizes) // rows)
    placed: list[Rectangle] = []
    y = room.y
    for start in range(0, len(sizes), each):
        row = sizes[start : start + each]
        high = room.height * sum(row) / whole
        x = room.x
        for nbytes in row:
            wide = room.width * nbytes / sum(row)
            placed.append(Rectangle(x, y, wide, high))
            x += wide
        y += high
    return placed
