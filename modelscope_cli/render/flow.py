"""A data flow as a scene. Graphviz says what stands beside what; heights, frames and ways are settled here.

    ┌─────────────┐       rank 0
    └──────┬──────┘
           ├──────────┐   channel: shapes, tracks, edges and heads of frames
    ┌──────▼──────┐   │
    │             │   │   rank 1, and a way past it
    └──────┬──────┘   │
           ▼          │
          (+)◀────────┘   rank 2

Lengths are points.
"""

from __future__ import annotations

from modelscope_cli.core.tensor import Shape
from modelscope_cli.render.flow_cards import SMALL, TEXT, Painter, shown, size
from modelscope_cli.render.flow_columns import Columns
from modelscope_cli.render.flow_entries import with_entries
from modelscope_cli.render.flow_links import links, rows
from modelscope_cli.render.flow_plan import Cluster, Node, Places, Plan
from modelscope_cli.render.flow_ways import Ways
from modelscope_cli.render.letters import fitted, width
from modelscope_cli.render.page_parts import BETWEEN, FACT, SQUARE, PageParts
from modelscope_cli.render.palette import CATEGORY_COLOURS, Palette, category_name
from modelscope_cli.render.units import count, percent
from modelscope_cli.report.diagram import Diagram, Group
from modelscope_cli.report.document import Count, Ratio
from modelscope_cli.report.flow import POINT, Box, Flow, FlowFrame
from modelscope_cli.report.scene import MIDDLE, Arrow, Frame, Item, Point, Scene, Words
from modelscope_cli.report.scene import Box as Rectangle

MARGIN = 36.0  # of the page
BESIDE = 16.0  # between a frame and what is in it
SHORTCUT = CATEGORY_COLOURS["block"]
SHORTCUT_LINE, LINE = 2.6, 1.3
NAME, BADGE = 13.0, 26.0


def prepared(flow: Flow) -> Flow:
    """The flow as it is drawn: plan and lay_out take this one."""
    return with_entries(flow)


def plan(flow: Flow) -> Plan:
    """The sizes of everything, for whoever finds places."""
    nodes = [Node(box.name, *size(box), box.frame) for box in flow.boxes]
    clusters = [Cluster(frame.name, frame.within, min(heading_width(frame), 420.0)) for frame in flow.frames]
    return Plan(nodes, clusters, links(flow), rows(flow), BESIDE)


def lay_out(flow: Flow, places: Places, palette: Palette) -> Scene:
    """The scene, once everything has a place beside the others."""
    ways = Ways(flow, places, {box.name: size(box) for box in flow.boxes}, {frame.name: BESIDE for frame in flow.frames})
    columns = Columns(ways)
    page = Diagram(flow.title, flow.facts, flow.categories, NOTHING, (), (), flow.captions)
    parts = PageParts(page, palette)
    shortcuts = any(edge.shortcut for edge in flow.edges)
    legend = sum(SQUARE + 6 + width(category_name(each), FACT) + BETWEEN for each in parts.categories)
    least = max(parts.least_width, legend + (110.0 if shortcuts else 0.0))
    inside = max(columns.width, least)
    head, foot = parts.header(MARGIN, MARGIN), parts.footer(MARGIN, inside)
    x, y = MARGIN + (inside - columns.width) / 2, MARGIN + head.height
    items: list[Item] = [*head.items]
    if shortcuts:
        items += sample(MARGIN + legend, MARGIN + head.height - SQUARE - 34 + SQUARE / 2, palette)
    items += Body(flow, columns, palette, x, y).items()
    bottom = y + columns.height
    items += [moved(item, bottom) for item in foot.items]
    return Scene(shown(flow.title), inside + 2 * MARGIN, bottom + foot.height + MARGIN, palette.paper, items)


NOTHING = Group("", "", "", 1, 1, Count(0), Count(0), Ratio(0), (), ())


def moved(item: Item, down: float) -> Item:
    return item._replace(y=item.y + down) if isinstance(item, Rectangle | Words) else item


def sample(x: float, y: float, palette: Palette) -> list[Item]:
    """What a shortcut looks like, for the legend."""
    return [
        Rectangle(x, y - SHORTCUT_LINE / 2, 22, SHORTCUT_LINE, SHORTCUT),
        Words(x + 28, y, "shortcut", FACT, palette.soft),
    ]


def heading_width(frame: FlowFrame) -> float:
    """What a heading needs: the badge and the longer of its lines."""
    longest = max(line_width(line) for line in heading(frame))
    return max(badge_width(frame) + longest + 36, 2 * longest + 24)


def badge_width(frame: FlowFrame) -> float:
    return width(f"{frame.fold:,} ×", NAME, bold=True) + 24 if frame.fold > 1 else 0.0


def heading(frame: FlowFrame) -> list[list[tuple[str, float, bool]]]:
    """The lines of a heading: runs of text, their sizes, whether they are bold."""
    if frame.fold > 1:
        figures = f"{count(frame.each)} each  ·  {count(frame.parameters)}  ·  {percent(frame.share)} %"
        return [[(shown(frame.kind), NAME, True), (shown(frame.title), SMALL, False)], [(figures, SMALL, False)]]
    return [[(shown(frame.title), TEXT, True), (shown(frame.kind), SMALL, False)]]


def line_width(line: list[tuple[str, float, bool]]) -> float:
    return sum(width(text, letters, bold=bold) + 10 for text, letters, bold in line)


class Body:
    """Boxes, frames, words and arrows, moved to where the body of the page begins."""

    def __init__(self, flow: Flow, columns: Columns, palette: Palette, x: float, y: float):
        self.flow, self.columns, self.ways, self.palette, self.x, self.y = flow, columns, columns.ways, palette, x, y
        self.painter = Painter(palette, {frame.name: frame.fold for frame in flow.frames})

    def items(self) -> list[Item]:
        return [*self.inside(""), *self.arrows(), *self.words()]

    def inside(self, frame: str) -> list[Item]:
        """What stands in a frame, or on the page."""
        items: list[Item] = [self.frame(each) for each in self.flow.frames if each.within == frame]
        for box in self.flow.boxes:
            if box.frame == frame:
                items += self.box(box)
        return items

    def box(self, box: Box) -> list[Item]:
        wide, _ = self.ways.sizes[box.name]
        x, y = self.corner(self.ways.rank[box.name])
        return self.painter.box(box, x + self.ways.x[box.name] - wide / 2, y + self.ways.top[box.name])

    def corner(self, rank: int) -> Point:
        """Where the places of a rank are counted from, on the page."""
        column = self.columns.at(rank)
        return self.x + column.dx, self.y + column.dy

    def frame(self, frame: FlowFrame) -> Frame:
        palette, folded = self.palette, frame.fold > 1
        left, top, right, bottom = self.ways.frame_box(frame.name)
        page_x, page_y = self.corner(self.ways.spans[frame.name][0])
        outline = Rectangle(
            page_x + left, page_y + top, right - left, bottom - top,
            palette.fold if folded else palette.group, palette.fold_border if folded else palette.border,
            1.6 if folded else 1.0, rounded=True, tooltip=shown(f"{frame.path}: {frame.kind}"),
        )  # fmt: skip
        return Frame(outline, [*self.heading(frame), *self.inside(frame.name)])

    def heading(self, frame: FlowFrame) -> list[Item]:
        """The words of a frame, where no way comes in."""
        palette = self.palette
        items: list[Item] = []
        left, top, right, _ = self.ways.frame_box(frame.name)
        page_x, page_y = self.corner(self.ways.spans[frame.name][0])
        middle = page_y + top + self.ways.head_height(frame) / 2 + 1
        badge = badge_width(frame)
        if badge:
            wide = badge - 10
            items.append(Rectangle(page_x + left + 12, middle - BADGE / 2, wide, BADGE, palette.badge, rounded=True))
            text = f"{frame.fold:,} ×"
            items.append(Words(page_x + left + 12 + wide / 2, middle, text, NAME, palette.badge_ink, bold=True, anchor=MIDDLE))
        begin = left + 14 + badge
        crossing = sorted(x for x in self.ways.entering(frame.name) if begin < x < right)
        gaps = list(zip([begin, *(x + 10 for x in crossing)], [*(x - 10 for x in crossing), right - 10], strict=True))
        lines = heading(frame)
        needed = max(line_width(line) for line in lines) - 10
        start, end = next((gap for gap in gaps if gap[1] - gap[0] >= needed), max(gaps, key=lambda gap: gap[1] - gap[0]))
        for number, line in enumerate(lines):
            x, y = start, middle + (number - (len(lines) - 1) / 2) * 16
            for text, letters, bold in line:
                fits = fitted(text, end - x, letters, bold=bold)
                if fits:
                    items.append(Words(page_x + x, y, fits, letters, palette.ink if bold else palette.soft, bold=bold))
                x += width(text, letters, bold=bold) + 10
        return items

    def arrows(self) -> list[Item]:
        arrows: list[Item] = []
        points_at = {box.name for box in self.flow.boxes if box.form == POINT}
        for number, edge in enumerate(self.flow.edges):
            points = [(self.x + x, self.y + y) for x, y in self.columns.points(number)]
            ink, line = (SHORTCUT, SHORTCUT_LINE) if edge.shortcut else (self.palette.arrow, LINE)
            arrows.append(Arrow(points, ink, edge.tail, edge.head, edge.head not in points_at, line=line))
        return sorted(arrows, key=lambda arrow: isinstance(arrow, Arrow) and arrow.line)

    def words(self) -> list[Item]:
        """Shapes beside the beginnings of ways, roles beside their ends."""
        items: list[Item] = []
        told: dict[str, set[Shape]] = {}
        for edge in self.flow.edges:
            if edge.shape is not None:
                told.setdefault(edge.tail, set()).add(edge.shape)
        done: set[str] = set()
        for number, edge in enumerate(self.flow.edges):
            points = self.columns.points(number)
            if edge.shape is not None and edge.tail not in done:
                text = "×".join(map(str, edge.shape)) or "scalar"
                x, y = points[0][0], points[0][1] + 9
                if len(told[edge.tail]) > 1:  # where the ways have parted
                    x, y = points[-1][0], points[-1][1] - 15
                else:
                    done.add(edge.tail)
                items.append(Words(self.x + x + 6, self.y + y, text, SMALL - 1, self.palette.soft))
            if edge.role:
                x, y = points[-1]
                items.append(Words(self.x + x + 7, self.y + y - 9, edge.role, SMALL, self.palette.ink, bold=True))
        return items
