"""A tall data flow goes on in a second column, where a single way leads on and no frame is cut."""

from __future__ import annotations

from typing import NamedTuple

from modelscope_cli.render.flow_ways import Ways
from modelscope_cli.report.scene import Point

TALL = 2_000.0  # points that one column may have before a second is begun
SQUARE = 0.9  # how wide a page of several columns is, against its height
GUTTER = 56.0  # between columns
LEAD = 30.0  # above and below the columns, for the way that leads over
LEAST_FILLED = 0.3  # of the tallest column, that every one must have
TRIES = 14


class Column(NamedTuple):
    """The ranks in it, first and last; what they reach to; how far they are moved."""

    first: int
    last: int
    left: float
    right: float
    top: float
    bottom: float
    dx: float = 0.0
    dy: float = 0.0


class Columns:
    """Where every rank goes."""

    def __init__(self, ways: Ways):
        self.ways = ways
        self.columns = self.placed(self.chosen())
        self.width = max(column.right + column.dx for column in self.columns)
        lead = LEAD if len(self.columns) > 1 else 0.0
        self.height = max(column.bottom + column.dy for column in self.columns) + lead

    def chosen(self) -> list[tuple[int, int]]:
        """First and last rank of each column: one if that is not too tall, else as many as make the page a square."""
        last = len(self.ways.levels) - 1
        whole = self.extent(0, last)
        if self.ways.height <= TALL:
            return [(0, last)]
        cuts = [rank for rank in range(last) if self.can_cut(rank)]
        wanted = max(2, round((self.ways.height / ((whole.right - whole.left + GUTTER) * SQUARE)) ** 0.5))
        low, high = self.ways.height / wanted, self.ways.height
        best = [(0, last)]
        for _ in range(TRIES):
            limit = (low + high) / 2
            tried = self.filled(limit, cuts, last)
            if len(tried) <= wanted:
                best, high = tried, limit
            else:
                low = limit
        heights = [piece.bottom - piece.top for piece in (self.extent(*each) for each in best)]
        return best if min(heights) >= LEAST_FILLED * max(heights) else [(0, last)]

    def filled(self, limit: float, cuts: list[int], last: int) -> list[tuple[int, int]]:
        """Columns no taller than the limit, as far as there are cuts."""
        found: list[tuple[int, int]] = []
        first = 0
        for position, cut in enumerate(cuts):
            further = cuts[position + 1] if position + 1 < len(cuts) else last
            piece = self.extent(first, further)
            if piece.bottom - piece.top > limit and cut >= first:
                found.append((first, cut))
                first = cut + 1
        return [*found, (first, last)]

    def can_cut(self, rank: int) -> bool:
        """Whether one way leads from a rank to the next, and nothing else goes on."""
        ways = self.ways
        over = [number for number, edge in enumerate(ways.flow.edges) if ways.rank[edge.tail] <= rank < ways.rank[edge.head]]
        if len(over) != 1 or over[0] in ways.sides:
            return False
        edge = ways.flow.edges[over[0]]
        if ways.rank[edge.tail] != rank or ways.rank[edge.head] != rank + 1:
            return False
        return not any(first <= rank < last for first, last in ways.spans.values())

    def extent(self, first: int, last: int) -> Column:
        """What a run of ranks reaches to."""
        ways = self.ways
        names = [name for name, rank in ways.rank.items() if first <= rank <= last]
        frames = [ways.frame_box(frame) for frame, (begin, end) in ways.spans.items() if first <= begin and end <= last]
        past = [x for column in ways.columns for rank, x in column if first <= rank <= last]
        told = [ways.told_right(edge) for edge in ways.flow.edges if edge.shape and first <= ways.rank[edge.tail] <= last]
        lefts = [ways.x[name] - ways.sizes[name].width / 2 for name in names] + [box[0] for box in frames] + past
        rights = [ways.x[name] + ways.sizes[name].width / 2 for name in names] + [box[2] for box in frames] + past + told
        tops = [ways.top[name] for name in names] + [box[1] for box in frames]
        bottoms = [ways.top[name] + ways.sizes[name].height for name in names] + [box[3] for box in frames]
        return Column(first, last, min(lefts), max(rights), min(tops), max(bottoms))

    def placed(self, ranks: list[tuple[int, int]]) -> list[Column]:
        x = 0.0
        found: list[Column] = []
        for first, last in ranks:
            column = self.extent(first, last)
            over = LEAD if len(ranks) > 1 else 0.0
            found.append(column._replace(dx=x - column.left, dy=over - column.top))
            x += column.right - column.left + GUTTER
        return found

    def at(self, rank: int) -> Column:
        return next(column for column in self.columns if column.first <= rank <= column.last)

    def points(self, number: int) -> list[Point]:
        """The corners of a way, on the page."""
        ways = self.ways
        edge = ways.flow.edges[number]
        tail, head = self.at(ways.rank[edge.tail]), self.at(ways.rank[edge.head])
        points = ways.points(number)
        if tail is head:
            return [(x + tail.dx, y + tail.dy) for x, y in points]
        (x0, y0), (x1, y1) = points[0], points[-1]
        lower = tail.bottom + tail.dy + LEAD * 0.6
        between = head.left + head.dx - GUTTER / 2
        upper = LEAD * 0.2
        x0, x1 = x0 + tail.dx, x1 + head.dx
        return [(x0, y0 + tail.dy), (x0, lower), (between, lower), (between, upper), (x1, upper), (x1, y1 + head.dy)]
