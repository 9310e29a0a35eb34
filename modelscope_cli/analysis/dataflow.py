"""The data flow of a model as a picture: from its calls to boxes, frames and edges."""

from __future__ import annotations

from modelscope_cli.analysis.flow_cards import Together, is_sign, put_together
from modelscope_cli.analysis.flow_fold import Run, fold
from modelscope_cli.analysis.flow_labels import Labels, operator_words, shortened
from modelscope_cli.analysis.flow_ops import FOLDED, INPUT, OUTPUT, Step, Tracer
from modelscope_cli.analysis.flow_patterns import simplified
from modelscope_cli.analysis.flow_shortcuts import shortcuts
from modelscope_cli.analysis.flow_words import CONCATENATING, PLAIN_CONTAINERS, SIGNS
from modelscope_cli.core.calls import Calls, Place, Value
from modelscope_cli.core.tensor import Shape
from modelscope_cli.errors import DrawingError
from modelscope_cli.report.document import Count, Phrase, Ratio
from modelscope_cli.report.flow import CARD, END, MORE, SIGN, Box, Edge, Flow, FlowFrame
from modelscope_cli.report.flow import Step as Line

MOST_BOXES = 400  # more cannot be read, on whatever paper
NESTED = 3  # frames in frames
WRAPPED = 0.7  # a module that holds more of what is around it says nothing
LONGEST_FACT, LONGEST_NAME = 120, 40  # letters
MOST_INPUTS = 4  # that are told
ROLES = {"0": "Q", "1": "K", "2": "V", "query": "Q", "key": "K", "value": "V"}
CAPTION = (
    "Traced by torch.export on meta tensors, which have shapes and no values; what only changes a tensor's form is left out."
)


def draw(calls: Calls, title: str, said: str, *, folded: bool = True, force: bool = False) -> Flow:
    """The picture. Raises DrawingError when nothing flows, or more would be drawn than can be read, unless by `force`."""
    tracer = Tracer(calls)
    steps = simplified(tracer.trace())
    if not any(step.form not in (INPUT, OUTPUT) for step in steps):
        raise DrawingError("nothing flows from its inputs or parameters to its outputs, so there is nothing to draw")
    runs: dict[Place, Run] = {}
    if folded:
        steps, runs = fold(steps, tracer.facts)
    flow = Drafter(calls, steps, runs).flow(title, said)
    if len(flow.boxes) > MOST_BOXES and not force:
        advice = "leave out --no-fold, " if not folded else ""
        raise DrawingError(
            f"{len(flow.boxes):,} boxes would be drawn, more than can be read (the most is {MOST_BOXES:,})",
            hint=f"{advice}--layers N keeps the first N of repeated layers, --force draws it all the same, --engine diagram draws modules",
        )
    return flow


class Drafter:
    """Makes boxes, frames and edges of steps."""

    def __init__(self, calls: Calls, steps: list[Step], runs: dict[Place, Run]):
        self.calls = calls
        self.steps = steps
        self.runs = runs
        self.labels = Labels(calls)
        self.categories = {id(step): self.labels.category(step) for step in steps}
        self.cards = put_together(steps, runs, self.categories)
        self.of: dict[int, int] = {id(step): number for number, card in enumerate(self.cards) for step in card.steps}
        self.around = [self.places(card) for card in self.cards]
        self.frames: dict[Place, str] = {}

    def flow(self, title: str, said: str) -> Flow:
        frames = self.framed()
        boxes = [self.box(number, card) for number, card in enumerate(self.cards)]
        used = [line.category for box in boxes for line in box.steps if line.parameters is not None or line.note]
        inputs = [value for value in self.calls.inputs if value.shape is not None]
        facts = [
            Phrase((brief(said, LONGEST_FACT),)),
            Phrase((f"{self.labels.total:,} parameters · {told(inputs)}",)),
        ]
        captions = [CAPTION]
        return Flow(title, facts, list(dict.fromkeys(used)), boxes, frames, self.edges(), captions)

    # Frames -----------------------------------------------------------------------------------------------------------

    def places(self, card: Together) -> list[Place]:
        """The modules around a box, outermost first."""
        first = card.steps[0].around
        if card.module is not None:
            return list(first[: first.index(card.module)])
        return list(first)

    def framed(self) -> list[FlowFrame]:
        """Frames around the boxes of modules, where they say something."""
        members: dict[Place, list[int]] = {}
        for number, places in enumerate(self.around):
            for place in places:
                if place.path:
                    members.setdefault(place, []).append(number)
        inside: dict[Place, Place | None] = {}
        for places in self.around:
            above: Place | None = None
            for place in places:
                if place.path:
                    inside.setdefault(place, above)
                    above = place
        frames: list[FlowFrame] = []
        for place, boxes in members.items():
            above = inside[place]
            while above is not None and above not in self.frames:
                above = inside[above]
            run = self.runs.get(place)
            plain = [number for number in boxes if not self.in_run(number, place)]
            rivals = len(members[above]) if above is not None else len(self.cards)
            if run is None and (
                len(boxes) < 2
                or not plain
                or place.kind in PLAIN_CONTAINERS
                or len(boxes) >= WRAPPED * rivals
                or self.nesting(above, inside) >= NESTED
            ):
                continue
            self.frames[place] = name = f"frame{len(self.frames) + 1}"
            frames.append(self.frame(name, place, above, run, boxes))
        return frames

    def in_run(self, number: int, place: Place) -> bool:
        """Whether a box belongs to repeated layers inside a module."""
        inner = self.around[number][self.around[number].index(place) + 1 :]
        return self.cards[number].steps[0].form == FOLDED or any(each in self.runs for each in inner)

    def nesting(self, place: Place | None, inside: dict[Place, Place | None]) -> int:
        depth = 0
        while place is not None:
            depth += place in self.frames
            place = inside[place]
        return depth

    def frame(self, name: str, place: Place, above: Place | None, run: Run | None, boxes: list[int]) -> FlowFrame:
        first = self.labels.below([step for number in boxes for step in self.cards[number].steps])
        everything = dict(first)
        if run is not None:
            others = set(run.places[1:])
            folded = [step for step in self.steps if step.form == FOLDED and step.within[-1] in others]
            everything |= self.labels.below(folded)
        each, whole = sum(first.values()), sum(everything.values())
        title = shortened(place.path, above.path if above is not None else "")
        if run is not None:
            title = shortened(span(run.places), above.path if above is not None else "")
        return FlowFrame(
            name, self.frames[above] if above is not None else "", place.path, title, place.kind,
            len(run.places) if run is not None else 1, Count(each), Count(whole),
            Ratio(whole / self.labels.total if self.labels.total else 0.0),
        )  # fmt: skip

    # Boxes ------------------------------------------------------------------------------------------------------------

    def box(self, number: int, card: Together) -> Box:
        first, last = card.steps[0], card.steps[-1]
        name = f"box{number + 1}"
        inner = next((place for place in reversed(self.around[number]) if place in self.frames), None)
        frame, above = (self.frames[inner], inner.path) if inner is not None else ("", "")
        if first.form in (INPUT, OUTPUT):
            return Box(name, END, first.operator, first.form, (), frame, last.shape)
        if first.form == FOLDED:
            count = self.labels.below([first])
            places = list(dict.fromkeys(step.within[len(first.within) - 1] for step in first.covers))
            if all(place.again for place in places):  # the same module again and again, as ALBERT's
                again = f"{first.count:,} times more, same weights"
                return Box(name, MORE, again, shortened(places[0].path, above), (), frame, last.shape, first.within[-1].path)
            how, turns = "identical", first.count // first.unit
            if first.unit > 1:
                how = f"{turns:,} times these {first.unit}" if turns > 1 else f"like these {first.unit}"
            return Box(
                name, MORE, f"+ {first.count:,} more, {how}", shortened(span(places), above), (), frame, last.shape,
                first.within[-1].path, Count(sum(count.values())),
            )  # fmt: skip
        if is_sign(first):
            words = operator_words(first)[0]
            return Box(name, SIGN, SIGNS[first.operator], words, (), frame, last.shape, first.within[-1].path)
        module = card.module
        lines: list[Line] = [self.labels.line(step, module.path if module is not None else above) for step in card.steps]
        title = shortened(module.path, above) if module is not None else ""
        total = sum(line.parameters or 0 for line in lines)
        path = module.path if module is not None else lines[0].path
        return Box(
            name, CARD, title, module.kind if module else "", lines, frame, last.shape, path, Count(total) if module else None
        )

    def edges(self) -> list[Edge]:
        """What flows between boxes. A shape is told where it is not the one that came in."""
        ways = shortcuts(self.steps)
        edges: dict[tuple[int, int, str], Edge] = {}
        shapes: dict[int, dict[str, Shape]] = {}  # tail → head → what flows
        for step in self.steps:
            head = self.of[id(step)]
            attends = step.operator == "scaled_dot_product_attention"
            for position, (read, shape) in enumerate(zip(step.reads, step.read_shapes, strict=True)):
                tail = self.of[id(read)]
                if tail == head:
                    continue
                role = ROLES.get(step.slots[position], "") if attends else ""
                known = next((each for each in edges if each[:2] == (tail, head)), None)
                if known is not None:  # once drawn is enough, the roles together
                    edge = edges[known]
                    roles = " ".join(filter(None, dict.fromkeys([*edge.role.split(), role])))
                    edges[known] = edge._replace(role=roles, shortcut=edge.shortcut or (id(read), id(step)) in ways)
                    continue
                flowing = shape or read.shape
                news = self.news(tail, flowing)
                if flowing is not None:
                    shapes.setdefault(tail, {})[f"box{head + 1}"] = flowing
                edges[tail, head, role] = Edge(f"box{tail + 1}", f"box{head + 1}", news, (id(read), id(step)) in ways, role)
        for key, edge in edges.items():
            tail = key[0]
            if len(set(shapes.get(tail, {}).values())) > 1:  # several tensors come from there
                edges[key] = edge._replace(shape=shapes[tail].get(edge.head))
        return list(edges.values())

    def news(self, number: int, shape: Shape | None) -> Shape | None:
        """The shape, where it is not that of everything the box takes."""
        came = [
            each or read.shape
            for step in self.cards[number].steps[:1]
            for read, each in zip(step.reads, step.read_shapes, strict=True)
        ]
        first = self.cards[number].steps[0]
        if first.operator in CONCATENATING or not came or any(each != shape for each in came[:1]):
            return shape
        return None


def span(places: list[Place]) -> str:
    """layers.0–31, or how often one module runs."""
    first, last = places[0].path, places[-1].path
    if first == last:
        return first
    return f"{first}–{last.rpartition('.')[2]}"


def told(inputs: list[Value]) -> str:
    """The inputs in words: tokens int64 2×4."""
    words = [
        f"{brief(value.name, LONGEST_NAME)} {value.dtype} {'×'.join(map(str, value.shape or ())) or 'scalar'}"
        for value in inputs[:MOST_INPUTS]
    ]
    if len(inputs) > MOST_INPUTS:
        words.append(f"{len(inputs) - MOST_INPUTS:,} more inputs")
    return ", ".join(words) or "no inputs"


def brief(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
