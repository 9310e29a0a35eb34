"""Heights of ranks and the ways of edges through them: what Graphviz says about sides and order is kept, the rest is ours."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence
from itertools import pairwise

from modelscope_cli.render.flow_cards import SMALL, Size
from modelscope_cli.render.flow_plan import Places
from modelscope_cli.render.flow_routes import CLEAR, NEAR, TRACK, Move, tracks
from modelscope_cli.render.letters import width
from modelscope_cli.report.flow import POINT, SIGN, Edge, Flow, FlowFrame
from modelscope_cli.report.scene import Point

SHAPE = 16.0  # height of the words below a box
ARRIVE = 18.0  # above a box, for the point of an arrow
LEAST = 30.0  # of a channel
HEAD, FOLDED_HEAD, FOOT = 28.0, 46.0, 14.0  # of frames
PORT = 16.0  # from the corner of a box to where ways lead in
APART = 26.0  # ways into one box
BEND = 24.0  # how much further a way may go to bend once less
LEFT = 320.0  # how much further a shortcut may go to be at the right


class Ways:
    """Everything that has to do with places. Widths count from the left of Graphviz's drawing, heights from the first rank."""

    def __init__(self, flow: Flow, places: Places, sizes: dict[str, Size], pads: dict[str, float]):
        self.flow, self.places, self.sizes = flow, places, sizes
        self.x = {name: x for name, (x, _) in places.nodes.items()}
        levels = sorted({round(y, 1) for _, y in places.nodes.values()})
        self.levels = [level for position, level in enumerate(levels) if not position or level - levels[position - 1] > 1.5]
        self.rank = {name: max(0, bisect(self.levels, y + 0.8) - 1) for name, (_, y) in places.nodes.items()}
        self.forms = {box.name: box.form for box in flow.boxes}
        self.frame_of = {box.name: box.frame for box in flow.boxes}
        self.within = {frame.name: frame.within for frame in flow.frames}
        self.frames = {frame.name: frame for frame in flow.frames}
        self.spans = self.frame_spans()
        self.by_rank: list[list[str]] = [[] for _ in self.levels]
        for name, rank in self.rank.items():
            self.by_rank[rank].append(name)
        self.straighten()
        self.verticals: list[list[tuple[float, int]]] = [[] for _ in self.levels]  # ways past each rank: x, edge
        self.columns = [self.column(number, edge) for number, edge in enumerate(flow.edges)]
        self.sides: dict[int, int] = {}  # edge that leads into the side of a sign: -1 left, 1 right
        self.ends = self.ports()
        self.starts = [self.start(number) for number in range(len(flow.edges))]
        self.moves = self.across()
        self.level_of: list[tuple[dict[int, int], dict[int, int]]] = []
        self.tops: list[float] = []
        self.rank_heights: list[float] = []
        self.first_inner = 0.0  # where the first rank begins, below the heads of frames
        self.outer: list[float] = []  # of the first track above the heads of frames, in the channel below each rank
        self.inner: list[float] = []
        self.height = self.stack()
        self.top = {name: self.middle(rank) - sizes[name].height / 2 for name, rank in self.rank.items()}

    # Frames -----------------------------------------------------------------------------------------------------------

    def enclosing(self, name: str) -> list[str]:
        """The frames around a box, outermost first."""
        found: list[str] = []
        frame = self.frame_of[name]
        while frame:
            found.insert(0, frame)
            frame = self.within[frame]
        return found

    def frame_spans(self) -> dict[str, tuple[int, int]]:
        spans: dict[str, tuple[int, int]] = {}
        for name, rank in self.rank.items():
            for frame in self.enclosing(name):
                low, high = spans.get(frame, (rank, rank))
                spans[frame] = (min(low, rank), max(high, rank))
        return spans

    def head_height(self, frame: FlowFrame) -> float:
        return FOLDED_HEAD if frame.fold > 1 else HEAD

    def frame_box(self, name: str) -> tuple[float, float, float, float]:
        """Left, top, right, bottom."""
        left, right = self.places.frames[name]
        first, last = self.spans[name]
        return left, self.opens(name, first), right, self.closes(name, last)

    def opens(self, name: str, first: int) -> float:
        """The upper end: heads of the frames inside that begin in the same rank come below it."""
        base = self.inner[first - 1] if first else self.first_inner
        inner = [each for each in self.spans if self.spans[each][0] == first and self.contains(name, each)]
        depth: dict[str, float] = {}
        return base - self.stacked(name, inner, depth)

    def stacked(self, name: str, inner: list[str], done: dict[str, float]) -> float:
        if name not in done:
            below = [self.stacked(each, inner, done) for each in inner if self.within[each] == name]
            done[name] = self.head_height(self.frames[name]) + max(below, default=0.0)
        return done[name]

    def closes(self, name: str, last: int) -> float:
        bottom = self.bottom(last) + SHAPE * self.told(last)
        return bottom + FOOT * (1 + self.depth_closing(name, last))

    def depth_closing(self, name: str, last: int) -> int:
        """Frames inside that end in the same rank, one in the other."""
        inner = [each for each in self.spans if self.within[each] == name and self.spans[each][1] == last]
        return max((1 + self.depth_closing(each, last) for each in inner), default=0)

    def contains(self, outer: str, inner: str) -> bool:
        while inner:
            if inner == outer:
                return True
            inner = self.within[inner]
        return False

    def entering(self, frame: str) -> list[float]:
        """Where ways cross the head of a frame."""
        first, _ = self.spans[frame]
        found: list[float] = []
        for number in range(len(self.flow.edges)):
            if self.rank[self.flow.edges[number].tail] >= first or self.rank[self.flow.edges[number].head] < first:
                continue
            column = dict(self.columns[number])
            inner = any(move.inner for move in self.moves[first - 1] if move.link == number) if first else False
            at = first - 1 if inner else first
            found.append(column.get(at, self.x[self.flow.edges[number].tail] if inner else self.end_x(number)))
        return found

    # Boxes ------------------------------------------------------------------------------------------------------------

    def straighten(self) -> None:
        """Put a box right below the one that leads to it alone, where there is room."""
        leading = [edge for edge in self.flow.edges if not edge.shortcut]
        for head in sorted(self.x, key=lambda name: self.rank[name]):
            before = [edge.tail for edge in leading if edge.head == head]
            if len(before) == 1 and sum(edge.tail == before[0] for edge in leading) == 1 and self.room(head, self.x[before[0]]):
                self.x[head] = self.x[before[0]]

    def room(self, name: str, x: float) -> bool:
        """Whether a box can stand at x in its rank: beside the others, inside its frames and outside of other frames."""
        rank, half = self.rank[name], self.sizes[name].width / 2
        for other in self.by_rank[rank]:
            if other != name and abs(self.x[other] - x) < half + self.sizes[other].width / 2 + 2 * CLEAR:
                return False
        own = self.enclosing(name)
        for frame, (first, last) in self.spans.items():
            left, right = self.places.frames[frame]
            if frame in own:
                if x - half < left + CLEAR or x + half > right - CLEAR:
                    return False
            elif first <= rank <= last and x + half + CLEAR > left and x - half - CLEAR < right:
                return False
        return True

    # Ways -------------------------------------------------------------------------------------------------------------

    def column(self, number: int, edge: Edge) -> list[tuple[int, float]]:
        """Past which ranks a way leads, and at which x; one x for all where nothing is in its way."""
        first, last = self.rank[edge.tail] + 1, self.rank[edge.head] - 1
        if last < first:
            return []
        said = [(rank, at_height(self.places.ways[number], self.levels[rank])) for rank in range(first, last + 1)]
        wishes = {self.x[edge.tail], self.x[edge.head], *(x for _, x in said)}
        for rank, _ in said:
            for name in self.by_rank[rank]:
                half = self.sizes[name].width / 2 + CLEAR + 1
                wishes |= {self.x[name] - half, self.x[name] + half}
        for frame, (above, below) in self.spans.items():
            if above <= last and below >= first:
                left, right = self.places.frames[frame]
                wishes |= {left - CLEAR - 1, right + CLEAR + 1}
        for wish in sorted(wishes, key=lambda x: (self.length(x, edge), x)):
            if all(self.free(wish, rank, edge) for rank, _ in said):
                said = [(rank, wish) for rank, _ in said]
                break
        for rank, x in said:
            self.verticals[rank].append((x, number))
        return said

    def length(self, x: float, edge: Edge) -> float:
        """How far across a way goes that leads down at x; shortcuts keep to the right, unless they come from the left."""
        long = abs(x - self.x[edge.tail]) + abs(x - self.x[edge.head])
        long += BEND * (x not in (self.x[edge.tail], self.x[edge.head]))
        return long + (
            LEFT if edge.shortcut and x < self.x[edge.head] <= self.x[edge.tail] + self.sizes[edge.tail].width / 2 else 0.0
        )

    def free(self, x: float, rank: int, edge: Edge) -> bool:
        """Whether nothing stands at x in a rank: no box, no other way, no frame that the edge has no part in."""
        for name in self.by_rank[rank]:
            if abs(x - self.x[name]) < self.sizes[name].width / 2 + CLEAR:
                return False
        if any(abs(x - other) < CLEAR and self.flow.edges[link].tail != edge.tail for other, link in self.verticals[rank]):
            return False
        own = {*self.enclosing(edge.tail), *self.enclosing(edge.head)}
        shared = set(self.enclosing(edge.tail)) & set(self.enclosing(edge.head))
        for frame, (first, last) in self.spans.items():
            left, right = self.places.frames[frame]
            if frame in shared or (frame in own and first <= rank <= last and not edge.shortcut):
                if not left + CLEAR / 2 < x < right - CLEAR / 2:
                    return False
            elif first <= rank <= last and left - CLEAR < x < right + CLEAR:
                return False
        return True

    def before_end(self, number: int) -> float:
        """The x at which a way comes to the rank of its head."""
        column = self.columns[number]
        return column[-1][1] if column else self.x[self.flow.edges[number].tail]

    def start(self, number: int) -> float:
        """Where a way leaves its box: in the middle, or straight above its end where that is near."""
        edge = self.flow.edges[number]
        column = self.columns[number]
        x, first = self.x[edge.tail], column[0][1] if column else self.ends[number]
        alone = sum(each.tail == edge.tail for each in self.flow.edges) == 1
        return (
            first
            if alone and abs(first - x) <= self.sizes[edge.tail].width / 4 and self.forms[edge.tail] not in (SIGN, POINT)
            else x
        )

    def ports(self) -> dict[int, float]:
        """Edge → x of its end."""
        arriving: dict[str, list[int]] = {}
        for number, edge in enumerate(self.flow.edges):
            arriving.setdefault(edge.head, []).append(number)
        ends: dict[int, float] = {}
        for head, numbers in arriving.items():
            centre = self.x[head]
            numbers = sorted(numbers, key=lambda number: (self.before_end(number), number))
            if self.forms[head] == POINT:
                ends.update((number, centre) for number in numbers)
                continue
            if self.forms[head] == SIGN:
                self.into_sign(head, numbers, ends)
                continue
            half = self.sizes[head].width / 2 - PORT
            xs = [self.before_end(number) for number in numbers]
            apart = all(b - a >= APART for a, b in pairwise(xs))
            if len(numbers) == 1:
                ends[numbers[0]] = xs[0] if abs(xs[0] - centre) <= half else centre
            elif apart and all(abs(x - centre) <= half for x in xs):
                ends.update(zip(numbers, xs, strict=True))
            else:
                step = min(46.0, 2 * half / (len(numbers) - 1))
                for position, number in enumerate(numbers):
                    ends[number] = centre + (position - (len(numbers) - 1) / 2) * step
        return ends

    def into_sign(self, head: str, numbers: list[int], ends: dict[int, float]) -> None:
        """Into a sign one way leads from each side, and one from above."""
        centre, rank = self.x[head], self.rank[head]
        taken: set[int] = set()
        by_distance = sorted(numbers, key=lambda number: -abs(self.before_end(number) - centre))
        straight = [number for number in by_distance if abs(self.before_end(number) - centre) < 4]
        for number in by_distance:
            x = self.before_end(number)
            side = -1 if x < centre else 1
            alone = len(numbers) == 1
            if (
                number in straight
                or alone
                or side in taken
                or abs(x - centre) < self.sizes[head].width
                or self.blocked(rank, x, head, number)
            ):
                ends[number] = centre
                continue
            taken.add(side)
            self.sides[number] = side
            ends[number] = x
            self.verticals[rank].append((x, number))

    def blocked(self, rank: int, x: float, head: str, number: int) -> bool:
        """Whether something stands between x and a sign, or at x."""
        low, high = sorted((x, self.x[head]))
        for name in self.by_rank[rank]:
            half = self.sizes[name].width / 2 + CLEAR
            if name != head and self.x[name] + half > low and self.x[name] - half < high:
                return True
        edge = self.flow.edges[number]
        if any(low < other < high and self.flow.edges[link].tail != edge.tail for other, link in self.verticals[rank]):
            return True
        for frame in self.frames:
            first, last = self.spans[frame]
            left, right = self.places.frames[frame]
            if first <= rank <= last and frame not in self.enclosing(head) and left < x < right:
                return True
        return False

    def end_x(self, number: int) -> float:
        return self.ends[number]

    def across(self) -> list[list[Move]]:
        """What goes across in the channel below each rank."""
        moves: list[list[Move]] = [[] for _ in self.levels]
        for number, edge in enumerate(self.flow.edges):
            stops = [(self.rank[edge.tail], self.starts[number]), *self.columns[number]]
            stops.append((self.rank[edge.head], self.end_x(number)))
            for (rank, start), (_, end) in pairwise(stops):
                if abs(start - end) > NEAR:
                    group = edge.tail if rank == self.rank[edge.tail] else f"{edge.tail}>{start:.0f}"
                    moves[rank].append(Move(number, start, end, group, self.goes_in(edge, rank, end)))
        return moves

    def goes_in(self, edge: Edge, rank: int, end: float) -> bool:
        """Whether a way leads into a frame whose head is in the channel below a rank."""
        opened = [frame for frame, (first, _) in self.spans.items() if first == rank + 1]
        return any(frame in opened for frame in self.enclosing(edge.head))

    # Heights ----------------------------------------------------------------------------------------------------------

    def told(self, rank: int) -> bool:
        """Whether a shape is told below a box of a rank."""
        return any(edge.shape is not None and self.rank[edge.tail] == rank for edge in self.flow.edges)

    def stack(self) -> float:
        """Heights of ranks and channels, from above. Returns the height of all."""
        y = self.heads(0)
        self.first_inner = y
        for rank, names in enumerate(self.by_rank):
            self.tops.append(y)
            self.rank_heights.append(max(self.sizes[name].height for name in names))
            y += self.rank_heights[-1]
            outer = tracks([move for move in self.moves[rank] if not move.inner])
            inner = tracks([move for move in self.moves[rank] if move.inner])
            self.level_of.append((outer, inner))
            closing = [frame for frame, (_, last) in self.spans.items() if last == rank]
            depth = max((1 + self.depth_closing(frame, rank) for frame in closing), default=0)
            above = SHAPE * self.told(rank) + FOOT * depth
            if rank == len(self.levels) - 1:
                return y + above
            heads = self.heads(rank + 1)
            y += max(above, 4.0)
            lanes = max(outer.values(), default=-1) + 1
            self.outer.append(y + TRACK)
            y += TRACK * (lanes + 0.6) if lanes else (8.0 if heads and depth else 0.0)
            y += 6.0 if heads else 0.0
            y += heads
            lanes_inside = max(inner.values(), default=-1) + 1
            self.inner.append(y)
            y += TRACK * (lanes_inside + (0.2 if lanes_inside else 0.0)) - (6.0 if lanes_inside and heads else 0.0)
            arrives = not all(self.forms[name] == POINT for name in self.by_rank[rank + 1])
            y += ARRIVE if arrives and (not heads or lanes_inside) else 4.0 if arrives else 0.0
            if not all(self.forms[name] == POINT for name in (*names, *self.by_rank[rank + 1])):
                y = max(y, self.tops[-1] + self.rank_heights[-1] + LEAST * (self.rank_heights[-1] > 1))
        return y

    def heads(self, rank: int) -> float:
        """What the heads of frames take that begin in a rank."""
        begun = [frame for frame, (first, _) in self.spans.items() if first == rank]
        done: dict[str, float] = {}
        return max((self.stacked(frame, begun, done) for frame in begun), default=0.0)

    def middle(self, rank: int) -> float:
        return self.tops[rank] + self.rank_heights[rank] / 2

    def bottom(self, rank: int) -> float:
        return self.tops[rank] + self.rank_heights[rank]

    def points(self, number: int) -> list[Point]:
        """The corners of a way."""
        edge = self.flow.edges[number]
        head_rank = self.rank[edge.head]
        x = self.starts[number]
        points: list[Point] = [(x, self.top[edge.tail] + self.sizes[edge.tail].height)]
        for rank, end in [*((rank - 1, at) for rank, at in self.columns[number]), (head_rank - 1, self.end_x(number))]:
            if abs(end - x) > NEAR:
                outer, inner = self.level_of[rank]
                y = (
                    self.inner[rank] + TRACK * inner[number] + 2
                    if number in inner
                    else self.outer[rank] + TRACK * outer[number] - TRACK / 2
                )
                points += [(x, y), (end, y)]
                x = end
        side = self.sides.get(number)
        if side is not None:
            y = self.middle(head_rank)
            points += [(x, y), (self.x[edge.head] + side * self.sizes[edge.head].width / 2, y)]
        else:
            points.append((x, self.top[edge.head]))
        return points

    def told_right(self, edge: Edge) -> float:
        """How far to the right the words beside the beginning of a way reach."""
        return self.x[edge.tail] + 6 + width("×".join(map(str, edge.shape or ())), SMALL - 1)


def at_height(points: Sequence[Point], y: float) -> float:
    """The x of a way at a height."""
    for (x0, y0), (x1, y1) in pairwise(points):
        if min(y0, y1) <= y <= max(y0, y1) and y0 != y1:
            return x0 + (x1 - x0) * (y - y0) / (y1 - y0)
    return min(points, key=lambda point: abs(point[1] - y))[0]
