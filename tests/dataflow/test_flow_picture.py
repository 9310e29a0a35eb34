"""Where things stand in a data flow: boxes apart from each other, ways that begin and end at them, names that do no harm."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise

import pytest

from modelscope_cli.analysis.dataflow import draw
from modelscope_cli.bridges.graphviz import paint
from modelscope_cli.bridges.layout import arrange
from modelscope_cli.render.flow import lay_out, plan, prepared
from modelscope_cli.render.palette import THEMES
from modelscope_cli.report.scene import Arrow, Box, Frame, Item, Scene, Words
from tests.dataflow.tape import Tape, decoder, stack

HOSTILE = "<script>alert(1)</script>\x1b[2J\u202e\\N]]>&\"'{}|\x00" + "k" * 10_000
CASES = {
    "decoder": lambda: draw(decoder(6), "t", "s"),
    "unfolded": lambda: draw(decoder(6), "t", "s", folded=False),
    "odd layer": lambda: draw(decoder(6, odd=3), "t", "s"),
    "shortcuts": lambda: draw(stack(shortcut=True), "t", "s"),
    "plain": lambda: draw(stack(shortcut=False), "t", "s"),
    "hostile": lambda: draw(hostile(), HOSTILE, HOSTILE),
}


def hostile():
    tape = Tape(HOSTILE)
    value = tape.embedding("e", tape.input(HOSTILE))
    name = HOSTILE.replace(".", "")
    for number in range(3):
        value = tape.call("add", value, tape.linear(f"{name}{number}", value, kind=HOSTILE))
    return tape.calls(tape.call(HOSTILE, value))


def scene(case: str, theme: str = "light") -> Scene:
    flow = prepared(CASES[case]())
    return lay_out(flow, arrange(plan(flow)), THEMES[theme])


def items(container: Scene | Frame) -> Iterator[Item]:
    for item in container.items:
        yield item
        if isinstance(item, Frame):
            yield from items(item)


def boxes(drawn: Scene) -> dict[str, Box]:
    return {item.name: item for item in items(drawn) if isinstance(item, Box) and item.name}


@pytest.mark.parametrize("case", CASES)
def test_boxes_stand_apart(case):
    for a, b in combinations(boxes(scene(case)).values(), 2):
        beside = a.x + a.width <= b.x or b.x + b.width <= a.x
        below = a.y + a.height <= b.y or b.y + b.height <= a.y
        assert beside or below, (a.name, b.name)


@pytest.mark.parametrize("case", CASES)
def test_everything_is_on_the_page(case):
    drawn = scene(case)
    for item in items(drawn):
        if isinstance(item, Box):
            assert item.x >= 0
            assert item.x + item.width <= drawn.width
            assert item.y + item.height <= drawn.height
        elif isinstance(item, Arrow):
            assert all(0 <= x <= drawn.width and 0 <= y <= drawn.height for x, y in item.points)


@pytest.mark.parametrize("case", CASES)
def test_ways_lead_down_and_across_from_box_to_box(case):
    drawn = scene(case)
    placed = boxes(drawn)
    for arrow in items(drawn):
        if not isinstance(arrow, Arrow):
            continue
        tail, head = placed[arrow.tail_name], placed[arrow.head_name]
        (x0, y0), (x1, y1) = arrow.points[0], arrow.points[-1]
        assert tail.x <= x0 <= tail.x + tail.width
        assert y0 == pytest.approx(tail.y + tail.height)
        assert head.x - 0.01 <= x1 <= head.x + head.width + 0.01
        assert head.y - 0.01 <= y1 <= head.y + head.height
        for (ax, ay), (bx, by) in pairwise(arrow.points):
            assert ax == pytest.approx(bx) or ay == pytest.approx(by)


@pytest.mark.parametrize("case", CASES)
def test_ways_pass_no_box(case):
    drawn = scene(case)
    placed = boxes(drawn)
    for arrow in items(drawn):
        if not isinstance(arrow, Arrow):
            continue
        for (ax, ay), (bx, by) in pairwise(arrow.points):
            for name, box in placed.items():
                if name in (arrow.tail_name, arrow.head_name):
                    continue
                across = min(ax, bx) < box.x + box.width - 0.5 and max(ax, bx) > box.x + 0.5
                down = min(ay, by) < box.y + box.height - 0.5 and max(ay, by) > box.y + 0.5
                assert not (across and down), (arrow.tail_name, arrow.head_name, name)


@pytest.mark.parametrize("case", CASES)
def test_frames_hold_what_is_in_them(case):
    def inside(frame: Frame) -> None:
        box = frame.box
        for item in frame.items:
            held = item.box if isinstance(item, Frame) else item
            if isinstance(held, Box):
                assert box.x <= held.x
                assert held.x + held.width <= box.x + box.width
                assert box.y <= held.y
                assert held.y + held.height <= box.y + box.height
            if isinstance(item, Frame):
                inside(item)

    for item in scene(case).items:
        if isinstance(item, Frame):
            inside(item)


def test_shortcuts_are_the_thickest_lines_and_the_legend_says_so():
    drawn = scene("shortcuts")
    arrows = [item for item in items(drawn) if isinstance(item, Arrow)]
    assert sum(arrow.line > 2 for arrow in arrows) == 4
    assert any(isinstance(item, Words) and item.text == "shortcut" for item in items(drawn))
    assert not any(isinstance(item, Words) and item.text == "shortcut" for item in items(scene("plain")))


def test_names_of_a_model_do_no_harm():
    drawn = scene("hostile")
    shown = [item.text for item in items(drawn) if isinstance(item, Words)]
    shown += [item.tooltip for item in items(drawn) if isinstance(item, Box)]
    assert not any(sign in text for text in shown for sign in "\x1b\x00\u202e")
    svg = paint(drawn, "svg").data
    assert b"<script" not in svg
    assert max(map(len, shown)) < 4_000


def test_a_tall_drawing_goes_on_beside():
    flow = prepared(draw(decoder(6, odd=2), "t", "s", folded=False))
    drawn = lay_out(flow, arrange(plan(flow)), THEMES["light"])
    assert drawn.height < 3_500
    assert drawn.width > 1_000


def test_the_same_model_gives_the_same_picture():
    assert paint(scene("decoder", "dark"), "dot").data == paint(scene("decoder", "dark"), "dot").data
