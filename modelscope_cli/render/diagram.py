"""An architecture diagram as a scene: where every card, frame, word and arrow stands.

title                                         Cards are all equally wide and their columns line up down the page; frames
facts                                         grow outwards around them. Where one column would be much taller than the
legend                     parameters share   page is wide, the flow is cut between cards into columns of equal height,
┌─────────────────────────────────────────┐   frames that are cut go on under the same name, and the arrow leads over.
│ ▍Embedding  tok_emb  50,257 × 768  38.6 M│
└────────────────────┬────────────────────┘   Lengths are points.
                     ▼
"""

from __future__ import annotations

from collections.abc import Callable

from modelscope_cli.render.diagram_columns import SMALL, Columns, depth, measure, shown
from modelscope_cli.render.diagram_flow import BESIDE, LEAD, TIE, Flow
from modelscope_cli.render.page_parts import PageParts
from modelscope_cli.render.palette import Palette
from modelscope_cli.report.diagram import Diagram
from modelscope_cli.report.scene import RIGHT, Arrow, Box, Frame, Item, Scene, Words

MARGIN = 36.0  # of the page
GUTTER = 52.0  # between its columns
TALL = 1_400.0  # points that one column may have before a second is begun
SQUARE = 0.9  # how wide a page of several columns is, against its height


def lay_out(diagram: Diagram, palette: Palette) -> Scene:
    """The scene of a diagram."""
    columns = measure(diagram)
    nesting = depth(diagram.body) - 1
    outward = BESIDE * nesting
    step = columns.width + 2 * outward + GUTTER

    def flow(height: float) -> Flow:
        done = Flow(palette, columns, diagram, step, height)
        done.blocks(diagram.body.blocks, diagram.body.flows)
        done.close_column()
        return done

    placed = balanced(flow, step)
    body_width = step * placed.column_count - GUTTER
    parts = PageParts(diagram, palette)
    inside = max(body_width, parts.least_width)
    head, foot = parts.header(MARGIN, MARGIN), parts.footer(MARGIN, inside)
    top = MARGIN + head.height
    bottom = top + placed.height + (LEAD if placed.column_count > 1 else 0)
    items: list[Item] = [
        *head.items,
        *[moved(item, MARGIN + outward, top) for item in [*titles(placed, columns, palette), *placed.items]],
        *[moved(item, MARGIN + outward, top) for item in [*placed.arrows, *placed.drawn_ties(outward)]],
        *[moved(item, 0.0, bottom) for item in foot.items],
    ]
    room_for_ties = TIE if diagram.ties else 0.0
    return Scene(shown(diagram.title), inside + 2 * MARGIN + room_for_ties, bottom + foot.height + MARGIN, palette.paper, items)


def titles(placed: Flow, columns: Columns, palette: Palette) -> list[Item]:
    """Over each column of the page: what the figures outside folded groups are."""
    return [
        Words(column * placed.step + right, -9.0, text, SMALL - 1, palette.soft, anchor=RIGHT)
        for column in range(placed.column_count)
        for right, text in ((columns.number, "parameters"), (columns.share, "share"))
    ]


def balanced(flow: Callable[[float], Flow], step: float) -> Flow:
    """The flow in one column if that is not too tall, else in as many of nearly equal height as make the page a square."""
    single = flow(float("inf"))
    if single.height <= TALL:
        return single
    wanted = max(2, round((single.height / (step * SQUARE)) ** 0.5))
    low, high = single.height / wanted, single.height
    best = single
    for _ in range(12):
        height = (low + high) / 2
        tried = flow(height)
        if tried.column_count <= wanted:
            best, high = tried, height
        else:
            low = height
    return best


def moved(item: Item, x: float, y: float) -> Item:
    """An item, and all in it, elsewhere."""
    if isinstance(item, Box | Words):
        return item._replace(x=item.x + x, y=item.y + y)
    if isinstance(item, Arrow):
        return item._replace(points=[(px + x, py + y) for px, py in item.points])
    return Frame(moved_box(item.box, x, y), [moved(inner, x, y) for inner in item.items])


def moved_box(box: Box, x: float, y: float) -> Box:
    return box._replace(x=box.x + x, y=box.y + y)
