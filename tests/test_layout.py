"""Where things stand in a diagram: everything on the page, inside what it belongs to, and nothing on top of anything else."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import modelscope_cli
from modelscope_cli.render.letters import width
from modelscope_cli.report.scene import LEFT, RIGHT, Arrow, Box, Frame, Item, Scene, Words
from tests.drawn import diagram_of, items, scene_of, texts
from tests.families import FAMILIES, by_hand, deepseek, llama, resnet
from tests.tables import linear

EXAMPLE = Path(__file__).parents[1] / "examples" / "decoder_small.pth"
LETTERS = 0.72  # height of a line of text that ink may be in, in its size
NEAR = 0.02  # points

Rectangle = tuple[float, float, float, float]  # left, top, right, bottom

LONG = "n" * 10_000
CJK = "模型.层.注意力机制"
ODD = {
    "long names": {
        f"{LONG}.weight": (50, 8), **linear(f"body.{LONG}.q", 8, 8), **linear(f"body.{LONG}.{LONG}", 8, 8),
        **linear("body.short", 8, 8), f"tail.{'W' * 10_000}.weight": (8,), f"tail.{'i' * 10_000}": (8, 8),
    },
    "deep names": {f"{'a.' * 60}weight": (4, 4), f"{'a.' * 30}b.weight": (4, 4), f"{'c.' * 12}d.{'e.' * 12}weight": (3, 3)},
    "CJK": {**linear(f"{CJK}.查询投影", 8, 8), **linear(f"{CJK}.{'长' * 200}", 8, 8), **linear("编码器.0", 8, 8), **linear("编码器.1", 8, 8)},
    "signs": {"🦙" * 60 + ".weight": (4, 4), "e\u0301\u0301\u0301.weight": (1,), "\u202egnp.weight": (3, 3), "\x1b[2J.weight": (4, 4)},
    "one tensor": {"weight": (3, 3)},
    "unnamed": {"": (3,), "..": (2,), ".a": (2,), "b.": (2,)},
    "only buffers beside": {**linear("fc", 2, 2), "fc.mask": (3, 3), "steps:int64": ()},
    "huge": {"embed.weight": (10**9, 10**6), **linear("fc", 10**12, 10**3)},
    "wide folds": {f"layers.{number}.experts.{expert}.weight": (2, 2) for number in range(40) for expert in range(300)},
    "scattered folds": {f"layers.{number}.weight": (2 + number % 2, 3) for number in range(60)},
}  # fmt: skip
TALL = {
    "resnet, unfolded": (resnet((3, 8, 36, 3)), False),
    "llama, unfolded": (llama(12), False),
    "deepseek, unfolded": (deepseek(6), False),
    "by hand, unfolded": (by_hand(40), False),
    "many cards": ({name: (3, 3) for number in range(150) for name in (f"part{number}.a.weight", f"part{number}.b.weight")}, True),
    "one long card": ({f"stem.tensor{number}": (3, 3 + number) for number in range(300)}, True),
}  # fmt: skip
CASES = [*FAMILIES, *ODD, *TALL, "example", "tied", "training"]


@cache
def scene(case: str, theme: str = "light") -> Scene:
    if case == "example":
        return scene_of(diagram_of(modelscope_cli.read(str(EXAMPLE))), theme)
    if case == "tied":
        return scene_of(diagram_of(by_hand(30), ties={"out_head.weight": "tok_emb.weight"}, fold=False), theme)
    if case == "training":
        state = {f"optimizer.state.{number}.exp_avg": (8, 8) for number in range(4)}
        shapes = {**{f"model.{name}": shape for name, shape in FAMILIES["gpt2"].items()}, **state}
        groups = [(0, ""), (0, "model"), (len(shapes) - 4, "optimizer")]
        return scene_of(diagram_of(shapes, groups=groups), theme)
    shapes, fold = TALL[case] if case in TALL else ({**FAMILIES, **ODD}[case], True)
    return scene_of(diagram_of(shapes, fold=fold), theme)


def of_words(words: Words) -> Rectangle:
    """The place that a text takes at most."""
    wide = width(words.text, words.size, bold=words.bold)
    left = words.x if words.anchor == LEFT else words.x - wide if words.anchor == RIGHT else words.x - wide / 2
    high = words.size * LETTERS
    return left, words.y - high / 2, left + wide, words.y + high / 2


def of_box(box: Box) -> Rectangle:
    return box.x, box.y, box.x + box.width, box.y + box.height


def place(item: Item) -> Rectangle:
    if isinstance(item, Words):
        return of_words(item)
    if isinstance(item, Arrow):
        across, down = zip(*item.points, strict=True)
        return min(across), min(down), max(across), max(down)
    return of_box(item.box if isinstance(item, Frame) else item)


def holds(outer: Rectangle, inner: Rectangle) -> bool:
    return (
        outer[0] - NEAR <= inner[0]
        and outer[1] - NEAR <= inner[1]
        and inner[2] <= outer[2] + NEAR
        and inner[3] <= outer[3] + NEAR
    )


def overlapping(places: list[tuple[Rectangle, str]]) -> Iterator[tuple[str, str]]:
    """Pairs that share more than an edge, by a sweep downwards."""
    places = sorted(places, key=lambda each: each[0][1])
    open_: list[tuple[Rectangle, str]] = []
    for here, name in places:
        open_ = [each for each in open_ if each[0][3] > here[1] + NEAR]
        for there, other in open_:
            if there[0] + NEAR < here[2] and here[0] + NEAR < there[2]:
                yield other, name
        open_.append((here, name))


def cards(found: Scene) -> list[Box]:
    return [item for item, _ in items(found) if isinstance(item, Box) and item.name.startswith("block") and item.rounded]


def frames(found: Scene) -> list[Frame]:
    return [item for item, _ in items(found) if isinstance(item, Frame)]


def lanes(found: Scene) -> dict[float, list[Box]]:
    """The cards of each column of the page."""
    columns: dict[float, list[Box]] = {}
    for card in cards(found):
        columns.setdefault(round(card.x, 3), []).append(card)
    return columns


@pytest.mark.parametrize("case", CASES)
def test_the_page_has_a_size_and_holds_everything(case):
    found = scene(case)
    assert math.isfinite(found.width)
    assert math.isfinite(found.height)
    assert found.width > 0
    assert found.height > 0
    for item, _ in items(found):
        assert all(map(math.isfinite, place(item))), item
        assert holds((0, 0, found.width, found.height), place(item)), item


@pytest.mark.parametrize("case", CASES)
def test_what_is_in_a_frame_stays_in_it(case):
    for item, around in items(scene(case)):
        if around:
            assert holds(of_box(around[-1].box), place(item)), (item, around[-1].box)


@pytest.mark.parametrize("case", CASES)
def test_words_on_a_card_stay_on_it(case):
    found = scene(case)
    words = [item for item, _ in items(found) if isinstance(item, Words)]
    on_cards = 0
    for card in cards(found):
        for item in words:
            if card.x <= item.x <= card.x + card.width and card.y <= item.y <= card.y + card.height:
                on_cards += 1
                assert holds(of_box(card), of_words(item)), (item, card)
    assert on_cards >= 3


@pytest.mark.parametrize("case", CASES)
def test_no_words_are_on_top_of_others(case):
    words = [
        (of_words(item), f"{item.text[:80]} at {item.x:.0f}, {item.y:.0f}")
        for item, _ in items(scene(case))
        if isinstance(item, Words)
    ]
    assert list(overlapping(words)) == []


@pytest.mark.parametrize("case", CASES)
def test_cards_stand_apart(case):
    assert list(overlapping([(of_box(card), card.name) for card in cards(scene(case))])) == []


@pytest.mark.parametrize("case", CASES)
def test_frames_hold_each_other_or_stand_apart(case):
    found = frames(scene(case))
    for number, one in enumerate(found):
        for other in found[number + 1 :]:
            apart = not list(overlapping([(of_box(one.box), ""), (of_box(other.box), "")]))
            assert apart or holds(of_box(one.box), of_box(other.box)), (one.box, other.box)


@pytest.mark.parametrize("case", CASES)
def test_no_frame_is_without_a_card(case):
    for frame in frames(scene(case)):
        assert any(isinstance(item, Frame) or (isinstance(item, Box) and item.name) for item in frame.items), frame.box


@pytest.mark.parametrize("case", CASES)
def test_names_of_boxes_are_given_once(case):
    names = [item.name for item, _ in items(scene(case)) if isinstance(item, Box) and item.name]
    assert len(names) == len(set(names))


# Columns ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", TALL)
def test_tall_drawings_go_on_in_columns_of_nearly_equal_height(case):
    found = scene(case)
    columns = lanes(found)
    if case == "one long card":  # which cannot be cut
        assert len(columns) == 1
        return
    assert len(columns) > 1
    heights = [max(card.y + card.height for card in column) - min(card.y for card in column) for column in columns.values()]
    assert min(heights) > 0.6 * max(heights), heights
    assert 0.4 < found.width / found.height < 2.5


@pytest.mark.parametrize("case", ["llama", "gpt2", "mixtral", "torch decoder", "by hand", "example"])
def test_what_is_not_tall_is_one_column(case):
    assert len(lanes(scene(case))) == 1


def test_a_frame_that_is_cut_goes_on_under_the_same_name():
    found = scene("llama, unfolded")
    again = [
        frame for frame in frames(found) if any(isinstance(item, Words) and item.text == "continued" for item in frame.items)
    ]
    assert again
    names = [next(item.text for item in frame.items if isinstance(item, Words)) for frame in frames(found)]
    for frame in again:
        name = next(item.text for item in frame.items if isinstance(item, Words))
        assert names.count(name) > 1


# Arrows ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
def test_arrows_start_and_end_on_blocks(case):
    found = scene(case)
    blocks = cards(found) + [frame.box for frame in frames(found)]
    names = {item.name for item, _ in items(found) if isinstance(item, Box)}
    for item, _ in items(found):
        if not isinstance(item, Arrow):
            continue
        assert {item.tail_name, item.head_name} <= names
        assert item.tail_name != item.head_name
        if item.dashed:
            continue
        (x0, y0), (x1, y1) = item.points[0], item.points[-1]
        assert any(abs(box.y + box.height - y0) < NEAR and box.x < x0 < box.x + box.width for box in blocks), item
        assert any(abs(box.y - y1) < NEAR and box.x < x1 < box.x + box.width for box in blocks), item


@pytest.mark.parametrize("case", CASES)
def test_arrows_run_across_or_down_and_cross_no_words(case):
    found = scene(case)
    words = [(of_words(item), item.text[:80]) for item, _ in items(found) if isinstance(item, Words)]
    for item, _ in items(found):
        if isinstance(item, Arrow):
            for (x0, y0), (x1, y1) in zip(item.points, item.points[1:], strict=False):
                assert abs(x0 - x1) < NEAR or abs(y0 - y1) < NEAR, item
                piece = (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
                crossed = [
                    text for there, text in words
                    if piece[0] < there[2] and there[0] < piece[2] + NEAR and piece[1] < there[3] and there[1] < piece[3] + NEAR
                ]  # fmt: skip
                assert crossed == [], item


def test_ties_lead_from_the_line_that_holds_the_tensor_to_the_one_that_shares_it():
    found = scene_of(diagram_of(by_hand(2), ties={"out_head.weight": "tok_emb.weight"}))
    (tie,) = [item for item, _ in items(found) if isinstance(item, Arrow) and item.dashed]
    boxes = {item.name: of_box(item) for item, _ in items(found) if isinstance(item, Box) and item.name}
    for name, (x, y) in ((tie.tail_name, tie.points[0]), (tie.head_name, tie.points[-1])):
        left, top, right, bottom = boxes[name]
        assert top < y < bottom
        assert left < x <= right + 10
    assert boxes[tie.tail_name][1] < boxes[tie.head_name][1]


def test_the_flow_reads_down_and_then_to_the_right():
    columns = lanes(scene("resnet, unfolded"))
    order = [
        int(card.name.removeprefix("block")) for x in sorted(columns) for card in sorted(columns[x], key=lambda card: card.y)
    ]
    assert order == sorted(order)


# Themes ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
def test_the_dark_theme_stands_where_the_light_one_does(case):
    light, dark = scene(case), scene(case, "dark")
    assert (dark.width, dark.height) == (light.width, light.height)
    assert texts(dark) == texts(light)
    assert [place(item) for item, _ in items(dark)] == [place(item) for item, _ in items(light)]
    assert dark.background != light.background
