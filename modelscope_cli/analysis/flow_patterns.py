"""Groups of operators that a reader knows by one name: rotary position embeddings; and signs with a number at one side."""

from __future__ import annotations

from modelscope_cli.analysis.flow_ops import OPERATOR, OUTPUT, Step, leading_to
from modelscope_cli.analysis.flow_words import CONCATENATING

ROPE = "RoPE"


def simplified(steps: list[Step]) -> list[Step]:
    """The steps with what is known by a name as one step each."""
    instead: dict[int, Step] = {}
    for step in steps:
        step.reads = [instead.get(id(read), read) for read in step.reads]
        turned = rotated(step)
        if turned is not None:
            step.operator, step.numbers, step.constant = ROPE, (), False
            step.reads, step.read_shapes = [turned], [turned.shape]
        elif step.form == OPERATOR and len(step.reads) == 1 and (step.operator, step.numbers) in (("mul", (1,)), ("add", (0,))):
            instead[id(step)] = step.reads[0]
    ends = [step for step in steps if step.form == OUTPUT]
    return leading_to(steps, ends)


def rotated(step: Step) -> Step | None:
    """What is rotated, where a step ends `x · cos + rotate_half(x) · sin`, whichever halves are taken."""
    if step.operator == "add" and len(step.reads) == 2:
        for straight, turned in (step.reads, step.reads[::-1]):
            source, around = weighed(straight), weighed(turned)
            if source is None or around is None or around.operator not in CONCATENATING or len(around.reads) != 2:
                continue
            if source in around.reads and any(part.operator == "neg" and part.reads == [source] for part in around.reads):
                return source
    if step.operator in CONCATENATING and len(step.reads) == 2:
        first, second = step.reads
        if first.operator == "sub" and second.operator == "add":
            sources = [weighed(part) for half in (first, second) for part in half.reads]
            if len(sources) == 4 and sources[0] is not None and all(source is sources[0] for source in sources):
                return sources[0]
    return None


def weighed(step: Step) -> Step | None:
    """What a step multiplies by something that nothing flows into: a table of cosines."""
    return step.reads[0] if step.operator == "mul" and step.constant and len(step.reads) == 1 else None
