"""Calls as steps: what a parameter or an input feeds, one step a leaf module, without what only changes a tensor's form.

arange → unsqueeze → le → mask            nothing of the model flows there: left out
linear → view → transpose → attention     Linear → attention
to → pow → mean → rsqrt → mul → mul       RMSNorm, as they run in one module that has no parts
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from modelscope_cli.analysis.flow_origins import Fact, Origins
from modelscope_cli.analysis.flow_words import ABSORBING, CONCATENATING, COPIES, FORMS, MAKERS, WHOLE, bare, changes_nothing
from modelscope_cli.core.calls import Call, Calls, Kept, Place
from modelscope_cli.core.tensor import Shape

INPUT, OUTPUT, PARAMETER, MODULE, OPERATOR, FOLDED = "input", "output", "parameter", "module", "operator", "folded"


class Step:
    """Something that happens. `reads`: the steps whose results it takes, in order, one twice where it takes two of it.

    `within`: the modules around it; of a MODULE its own place is the last. `constant`: it also reads a number or a tensor
    that nothing flows into. `shape`: of what it gives.
    """

    def __init__(self, form: str, operator: str, within: tuple[Place, ...], shape: Shape | None = None):
        self.form = form
        self.operator = operator
        self.within = within
        self.shape = shape
        self.reads: list[Step] = []
        self.read_shapes: list[Shape | None] = []  # of each, as it was given
        self.slots: list[str] = []  # of an OPERATOR: which argument each is, a position or a keyword
        self.numbers: tuple[float, ...] = ()
        self.constant = False
        self.kept: list[tuple[str, Kept]] = []  # tensors of the model that it uses, by their leaf names
        self.count = 1  # of equal modules that it stands for
        self.unit = 1  # of how many different ones that take turns
        self.covers: list[Step] = []  # steps that a FOLDED one stands for

    @property
    def around(self) -> tuple[Place, ...]:
        """The modules it is a part of."""
        return self.within[:-1] if self.form in (MODULE, FOLDED) else self.within


class Tracer:
    """Follows values through the calls."""

    def __init__(self, calls: Calls):
        self.calls = calls
        self.kept = {tensor.name: tensor for tensor in calls.kept}
        self.origins = Origins()
        self.facts: dict[Place, list[Fact]] = {}  # what is called in a module with something that flows
        self.whole_shapes: dict[str, Shape | None] = {}  # value → its shape, whether anything flows into it or not
        self.steps: list[Step] = []
        self.sources: dict[str, Step] = {}  # value → the step it comes from; values that nothing feeds are absent
        self.shapes: dict[str, Shape | None] = {}
        self.given: dict[str, Shape | None] = {}  # value → shape as its step gave it
        self.names: dict[str, list[str]] = {}  # tensor that is written into → what it is called after that
        self.bases: dict[str, str] = {}  # value that is another in a different form → that one
        self.runs: dict[Place, Step] = {}
        self.parents = parents_of(calls.modules)
        self.with_tensors = {ancestor for path in calls.tensors for ancestor in [path, *ancestors(path)]}
        self.busy = {place for call in calls.calls if bare(call.operator) not in FORMS for place in call.within}

    def trace(self) -> list[Step]:
        """The steps that lead to an output, in the order they run."""
        for tensor in self.calls.kept:
            self.origins.keep(tensor)
            self.whole_shapes[tensor.name] = tensor.shape
        for value in self.calls.inputs:
            if value.shape is not None:
                step = self.add(Step(INPUT, value.name, (), value.shape))
                self.put(value.name, step, value.shape, value.shape)
        for call in self.calls.calls:
            self.call(call)
        ends: dict[int, Step] = {}
        for name in self.calls.outputs:
            source = self.sources.get(name)
            if source is not None and id(source) not in ends and source.form != INPUT:
                end = Step(OUTPUT, "output", (), self.shapes.get(name))
                end.reads, end.read_shapes = [source], [self.given.get(name)]
                ends[id(source)] = self.add(end)
        if len(ends) > 1:
            for number, end in enumerate(ends.values(), 1):
                end.operator = f"output {number}"
        return leading_to(self.steps, ends.values())

    def add(self, step: Step) -> Step:
        self.steps.append(step)
        return step

    def put(self, name: str, step: Step, shape: Shape | None, given: Shape | None) -> None:
        self.sources[name] = step
        self.shapes[name] = shape
        self.given[name] = given

    def call(self, call: Call) -> None:
        """Follow one call."""
        operator = bare(call.operator)
        self.whole_shapes[call.name] = call.shape
        read = [name for name in call.arguments if name in self.sources]
        learned = [self.kept[name] for name in call.arguments if name in self.kept and self.kept[name].learned]
        if operator in FORMS and operator not in COPIES and call.arguments:
            self.bases[call.name] = self.bases.get(call.arguments[0], call.arguments[0])
        flowing = {*read, *(tensor.name for tensor in learned)}
        if operator in MAKERS or not flowing:
            self.origins.made(call, self.base(call), flowing)
            return
        fact = self.origins.fact(call, flowing)
        for place in call.within:
            self.facts.setdefault(place, []).append(fact)
        if operator == "copy":
            self.written(call)
            return
        form = operator in FORMS or changes_nothing(call)
        if form and read:  # whichever module it runs in: where nothing changes, torch goes on with the result
            self.reformed(call, read[0])
            return
        depth = self.whole(call.within)
        if depth is not None:
            self.inside(call, call.within[: depth + 1], read)
            return
        if form:
            source = self.parameter(learned[0], call)
            self.put(call.name, source, call.shape, source.shape)
            return
        step = Step(OPERATOR, operator, tuple(call.within), call.shape)
        step.numbers = tuple(call.numbers)
        if operator in ABSORBING and (read or operator in ("embedding", "embedding_bag")):
            step.kept = [(tensor.path.rpartition(".")[2], tensor) for tensor in learned]
            learned = []
        own = {tensor.name for tensor in learned}
        for position, name in enumerate(call.arguments):
            slot = call.slots[position] if position < len(call.slots) else str(position)
            if name in self.sources:
                self.read(step, name, slot)
            elif name in own:
                source = self.parameter(self.kept[name], call)
                step.reads.append(source)
                step.read_shapes.append(source.shape)
                step.slots.append(slot)
            elif name not in self.kept or not self.kept[name].learned:
                step.constant = True
        step.constant = step.constant or (len(step.reads) == 1 and bool(call.numbers))
        if operator in CONCATENATING and len(step.reads) == 1 and not step.constant:
            self.put(call.name, step.reads[0], call.shape, step.reads[0].shape)
            return
        self.weighed(call, step)
        self.add(step)
        self.result(call, step)

    def weighed(self, call: Call, step: Step) -> None:
        """`a + alpha · b` as the two steps that it is; `b - a` as one that reads b first."""
        alpha = dict(call.plain).get("alpha") if step.operator in ("add", "sub", "rsub") else None
        factor = {"add": "1", "sub": "1", "rsub": "0"}.get(step.operator)  # the one that alpha belongs to
        if alpha not in (None, "1", "1.0") and factor in step.slots:
            position = step.slots.index(factor)
            scale = self.add(Step(OPERATOR, "mul", step.within, step.reads[position].shape))
            scale.reads, scale.read_shapes, scale.slots = [step.reads[position]], [step.read_shapes[position]], ["0"]
            scale.numbers, scale.constant = (float(alpha or 1),), True
            step.reads[position] = scale
        if step.operator == "rsub" and len(step.reads) > 1:
            step.operator, step.slots = "sub", ["0", "1"]
            step.reads.reverse()
            step.read_shapes.reverse()

    def base(self, call: Call) -> str:
        """The tensor that the first argument is a part of, or itself."""
        return self.bases.get(call.arguments[0], call.arguments[0]) if call.arguments else call.name

    def reformed(self, call: Call, name: str) -> None:
        """A call that changes the form of a value alone; as long as its module runs, that is how the module gives it."""
        source, given = self.sources[name], self.given[name]
        if source.form == MODULE and source.within[-1] in call.within and call.shape is not None:
            given = call.shape
            source.shape = source.shape if source.shape and bare(call.operator) == "getitem" else call.shape
        self.put(call.name, source, call.shape, given or call.shape)

    def written(self, call: Call) -> None:
        """A call that writes a value into a part of a tensor: what is written there side by side is concatenated."""
        target, value = call.arguments[0], call.arguments[-1]
        if value in self.kept and value not in self.sources:
            self.parameter(self.kept[value], call)
        if value not in self.sources:
            return
        source = self.sources[value]
        for name in (call.name, target):
            self.put(name, source, self.shapes[value], self.given[value])
        self.into(call, value, self.base(call))

    def into(self, call: Call, value: str, whole: str) -> None:
        """A value becomes a part of another, or all of it."""
        self.bases[call.name] = whole
        there = self.sources.get(whole)
        everything = self.whole_shapes.get(whole) == self.whole_shapes.get(call.arguments[0])
        if everything:
            self.names.setdefault(whole, []).extend((call.arguments[0], call.name))
        if there is None or everything:
            self.replace(whole, self.sources[value], self.shapes[value], self.given[value])
        elif there is not self.sources[value]:
            step = self.add(Step(OPERATOR, "cat", tuple(call.within), None))
            step.reads = [there, self.sources[value]]
            step.read_shapes = [self.given.get(whole), self.given.get(value)]
            self.replace(whole, step, self.whole_shapes.get(whole), self.whole_shapes.get(whole))

    def replace(self, whole: str, step: Step, shape: Shape | None, given: Shape | None) -> None:
        for name in (whole, *self.names.get(whole, ())):
            self.put(name, step, shape, given)

    def inside(self, call: Call, within: Sequence[Place], read: list[str]) -> None:
        """A call in a module that is one step."""
        place = within[-1]
        step = self.runs.get(place)
        if step is None:
            step = self.runs[place] = self.add(Step(MODULE, "", tuple(within)))
            prefix = place.path + "." if place.path else ""
            for path, tensors in self.calls.tensors.items():
                if path == place.path or path.startswith(prefix):
                    below = path[len(prefix) :] + "." if path != place.path else ""
                    step.kept += [(below + leaf, tensor) for leaf, tensor in tensors]
        for name in read:
            if self.sources[name] is not step:
                self.read(step, name)
        if call.shape is not None:
            step.shape = call.shape
            step.operator = bare(call.operator) if bare(call.operator) not in FORMS else step.operator
        if bare(call.operator) == "topk":
            step.numbers = tuple(call.numbers)
        self.result(call, step)

    def result(self, call: Call, step: Step) -> None:
        self.put(call.name, step, call.shape, call.shape)
        if (
            call.operator != bare(call.operator) and call.arguments
        ):  # worked in place: later readers of the old name get the new
            self.put(call.arguments[0], step, call.shape, call.shape)
            self.into(call, call.name, self.base(call))

    def read(self, step: Step, name: str, slot: str = "") -> None:
        source = self.sources[name]
        if step.form == MODULE and source in step.reads:
            return
        step.reads.append(source)
        step.read_shapes.append(self.given.get(name))
        step.slots.append(slot)

    def parameter(self, tensor: Kept, call: Call) -> Step:
        """The step that a parameter is, where an operator reads it that has none of its own."""
        step = self.sources.get(tensor.name)
        if step is None:
            around = tuple(place for place in call.within if not place.path or tensor.path.startswith(place.path + "."))
            step = self.add(Step(PARAMETER, tensor.path, around, tensor.shape))
            step.kept = [(tensor.path.rpartition(".")[2], tensor)]
            self.put(tensor.name, step, tensor.shape, tensor.shape)
        return step

    def whole(self, within: Iterable[Place]) -> int | None:
        """Where in `within` the outermost module stands that is one step; None: the call is a step by itself."""
        for depth, place in enumerate(within):
            if not place.path or place not in self.busy:
                continue
            parts = self.parents.get(place.path, ())
            own = place.path in self.calls.tensors
            if (
                place.kind in WHOLE
                or not parts
                or place.path not in self.with_tensors
                or (own and not any(part in self.with_tensors for part in parts))
            ):
                return depth
        return None


def parents_of(modules: Iterable[str]) -> dict[str, list[str]]:
    """Path → paths of the modules right below it."""
    below: dict[str, list[str]] = {}
    for path in modules:
        if path:
            below.setdefault(path.rpartition(".")[0], []).append(path)
    return below


def ancestors(path: str) -> list[str]:
    parts = path.split(".")
    return [".".join(parts[:length]) for length in range(len(parts))]


def leading_to(steps: list[Step], ends: Iterable[Step]) -> list[Step]:
    """The steps that any of the ends depends on, in their order."""
    needed: set[int] = set()
    waiting = list(ends)
    while waiting:
        step = waiting.pop()
        if id(step) not in needed:
            needed.add(id(step))
            waiting += step.reads
    return [step for step in steps if id(step) in needed]
