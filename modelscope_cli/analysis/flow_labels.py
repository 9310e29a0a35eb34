"""What a step is called, what category it has, and the parameters that are counted at it."""

from __future__ import annotations

import re

from modelscope_cli.analysis.flow_ops import FOLDED, MODULE, OPERATOR, PARAMETER, Step
from modelscope_cli.analysis.flow_patterns import ROPE
from modelscope_cli.analysis.flow_words import COMPARISONS, NAMES, SIGNS, named
from modelscope_cli.analysis.kinds import ATTENTION, EMBEDDING, MLP, OTHER, belongs, kind_of
from modelscope_cli.core.calls import Calls, Kept, Place
from modelscope_cli.core.tensor import Shape
from modelscope_cli.report.document import Count, Ratio
from modelscope_cli.report.flow import Step as Line

ATTENDING = frozenset({"scaled_dot_product_attention", "softmax", "_softmax", "masked_fill", ROPE})


def elements(shape: Shape) -> int:
    total = 1
    for side in shape:
        total *= side
    return total


class Labels:
    """Names and counts of steps. A tensor is counted where it is used first; there is one count for the whole model."""

    def __init__(self, calls: Calls):
        self.calls = calls
        self.counted: dict[str, str] = {}  # tensor → path of the step at which it is counted
        self.learned = {tensor.name: tensor for tensor in calls.kept if tensor.learned}
        self.total = sum(elements(tensor.shape) for tensor in self.learned.values())
        self.around: dict[Place, str] = {}

    def category(self, step: Step) -> str:
        """The category of a step, as in the architecture diagram: a Linear in an attention is part of it."""
        enclosing = OTHER
        for place in step.around:
            enclosing = self.module_category(place, enclosing)
        if step.form == OPERATOR:
            if step.operator in ATTENDING:
                return ATTENTION
            if not step.kept:
                return enclosing if enclosing in (ATTENTION, MLP) else OTHER
            shapes = {leaf: tensor.shape for leaf, tensor in step.kept}
            return belongs(kind_of("", shapes, {}, NAMES.get(step.operator), top=False).category, "", enclosing)
        if step.form == PARAMETER:
            return EMBEDDING if "emb" in step.operator or "token" in step.operator else enclosing
        if step.form != MODULE:
            return OTHER
        place = step.within[-1]
        shapes = {leaf: tensor.shape for leaf, tensor in step.kept}
        top = not any(part.isdecimal() for part in place.path.split(".")[:-1])
        name = place.path.rpartition(".")[2]
        return belongs(kind_of(place.path, shapes, {}, place.kind, top=top).category, name, enclosing)

    def module_category(self, place: Place, enclosing: str) -> str:
        """The category that a module lends to what is in it."""
        if place not in self.around:
            name = place.path.rpartition(".")[2]
            kind = kind_of(name, {}, {}, place.kind, top=False).category if place.path else OTHER
            if kind == OTHER and re.search(r"attn|attention|(^|_)att$", name, re.IGNORECASE):
                kind = ATTENTION
            if kind == OTHER and re.search(r"mlp|ffn?$|feed_?forward|expert|dense_?relu_?dense", name, re.IGNORECASE):
                kind = MLP
            self.around[place] = kind
        found = self.around[place]
        return enclosing if found == OTHER else found

    def line(self, step: Step, above: str) -> Line:
        """The line of a step on a card; keys are shown below the path `above`."""
        category = self.category(step)
        if step.form == PARAMETER:
            path = step.operator
            detail = " × ".join(f"{side:,}" for side in step.shape or ()) or "1"
            return self.with_count(Line(path, "Parameter", shortened(path, above), detail, category), step.kept)
        if step.form == OPERATOR:
            path = step.within[-1].path if step.within else ""
            line = Line(path, *operator_words(step), category)
            return self.with_count(line, step.kept)
        place = step.within[-1]
        shapes = {leaf: tensor.shape for leaf, tensor in step.kept}
        detail = kind_of(place.path, shapes, {}, place.kind, top=False).detail
        if category == EMBEDDING and len(shapes.get("weight", ())) == 2:
            detail = " × ".join(f"{side:,}" for side in shapes["weight"])
        three = [tensor.shape for _, tensor in step.kept if len(tensor.shape) == 3]
        if "xpert" in place.kind and three:
            detail = f"{three[0][0]:,} experts"
        elif "outer" in place.kind and step.operator and step.numbers:
            detail = f"top {step.numbers[0]:.0f}"
        again = f"run {place.again + 1}" if place.again and any(tensor.learned for _, tensor in step.kept) else ""
        return self.with_count(Line(place.path, place.kind, key(place.path, above), again or detail, category), step.kept)

    def with_count(self, line: Line, kept: list[tuple[str, Kept]]) -> Line:
        """The line with the parameters that are counted at it."""
        learned = [tensor for _, tensor in kept if tensor.learned]
        if not learned:
            return line
        new = [tensor for tensor in learned if self.counted.setdefault(tensor.name, line.path) == line.path]
        if line.detail.startswith("run "):
            return line._replace(note="same weights", detail="")
        if not new:
            owner = self.counted[learned[0].name]
            return line._replace(note="tied", detail=f"to {owner}")
        count = sum(elements(tensor.shape) for tensor in {tensor.name: tensor for tensor in new}.values())
        return line._replace(parameters=Count(count), share=Ratio(count / self.total if self.total else 0.0))

    def below(self, steps: list[Step]) -> dict[str, int]:
        """The tensors that steps use, the ones they stand for included, with their sizes."""
        found: dict[str, int] = {}
        for step in steps:
            for _, tensor in step.kept:
                if tensor.learned:
                    found[tensor.name] = elements(tensor.shape)
            if step.form == FOLDED:
                found |= self.below(step.covers)
        return found


def shortened(path: str, above: str) -> str:
    return path.removeprefix(above + ".") if above else path


def key(path: str, above: str) -> str:
    """The name below `above`; where a list counts its modules it says nothing."""
    name = shortened(path, above)
    return "" if name.rpartition(".")[2].isdecimal() and above else name


def operator_words(step: Step) -> tuple[str, str, str]:
    """(kind, label, detail) of an operator."""
    operator, number = step.operator, step.numbers[0] if step.numbers else None
    if operator in ("mul", "div") and len(step.reads) == 1:
        if number is None:
            return ("scale", f"{SIGNS[operator]} a constant", "") if operator == "mul" else ("scale", "÷ a constant", "")
        return "scale", f"{SIGNS[operator]} {number:g}", ""
    if operator in ("add", "sub") and len(step.reads) == 1:
        return "shift", f"{SIGNS[operator]} {number:g}" if number is not None else f"{SIGNS[operator]} a constant", ""
    if operator == "rsub":
        return "shift", f"{number:g} − x" if number is not None else "a constant − x", ""
    if operator == "pow" and len(step.reads) == 1 and number is not None:
        return named(operator), f"{number:g} ^ x" if step.slots == ["1"] else f"x ^ {number:g}", ""
    if operator in COMPARISONS:
        other = "each other" if len(step.reads) > 1 else "a constant" if number is None else f"{number:g}"
        return "compare", f"{COMPARISONS[operator]} {other}", ""
    if operator in ("mean", "sum", "amax", "max", "cumsum"):
        return named(operator), "", ""
    if operator == ROPE:
        return ROPE, "rotary position", ""
    if operator == "scaled_dot_product_attention":
        return "attention", "scaled dot product", ""
    return named(operator), "", ""
