"""From calls to boxes: what is left out, what stands together, what is folded, and where shortcuts run."""

from __future__ import annotations

import pytest

from modelscope_cli.analysis.dataflow import MOST_BOXES, draw
from modelscope_cli.errors import DrawingError
from modelscope_cli.report.flow import CARD, END, MORE, SIGN, Flow
from tests.dataflow.tape import Tape, decoder, stack


def flow(calls, **options) -> Flow:
    return draw(calls, "model.pth", "a model", **options)


def kinds(flow: Flow) -> list[str]:
    """Every box in a word, in the order they run."""
    return [box.title if box.form != CARD else " ".join(step.kind for step in box.steps) for box in flow.boxes]


def test_a_decoder_layer_reads_as_people_draw_it():
    drawn = flow(decoder(6))
    assert kinds(drawn) == [
        "tokens", "Embedding", "RMSNorm", "Linear", "Linear", "Linear", "RoPE", "RoPE", "attention", "Linear", "+",
        "RMSNorm", "Linear SiLU", "Linear", "×", "Linear", "+", "+ 5 more, identical", "RMSNorm", "Linear", "output",
    ]  # fmt: skip


def test_masks_and_position_tables_are_left_out():
    names = {step.kind for box in flow(decoder(6)).boxes for step in box.steps}
    assert not names & {"cos", "le", "neg", "concatenate", "arange", "slice", "reshape", "transpose"}


def test_equal_layers_are_one_frame_with_what_they_hold():
    drawn = flow(decoder(6))
    layer = next(frame for frame in drawn.frames if frame.fold > 1)
    each = 8 + 4 * 64 + 8 + 3 * 128
    assert (layer.fold, layer.kind, layer.title) == (6, "DecoderLayer", "model.layers.0–5")
    assert (layer.each, layer.parameters) == (each, 6 * each)
    more = next(box for box in drawn.boxes if box.form == MORE)
    assert (more.kind, more.parameters) == ("model.layers.1–5", 5 * each)


def test_all_parameters_are_counted_once():
    for folded in (True, False):
        drawn = flow(decoder(6), folded=folded)
        counted = sum(step.parameters or 0 for box in drawn.boxes for step in box.steps)
        counted += sum(box.parameters or 0 for box in drawn.boxes if box.form == MORE)
        assert f"{counted:,} parameters" in str(drawn.facts[1][0])


def test_a_layer_that_differs_ends_the_run():
    drawn = flow(decoder(6, odd=3))
    assert [(frame.title, frame.fold) for frame in drawn.frames if frame.kind == "DecoderLayer"] == [
        ("model.layers.0–2", 3), ("model.layers.3", 1), ("model.layers.4–5", 2),
    ]  # fmt: skip


def test_unfolded_every_layer_is_drawn():
    drawn = flow(decoder(6), folded=False)
    assert kinds(drawn).count("attention") == 6
    assert not any(box.form == MORE for box in drawn.boxes)


def test_too_much_to_read_is_refused_unless_forced():
    calls = decoder(40)
    with pytest.raises(DrawingError, match=f"the most is {MOST_BOXES}") as refused:
        flow(calls, folded=False)
    assert "--layers N" in refused.value.hint
    assert "--no-fold" in refused.value.hint
    assert len(flow(calls, folded=False, force=True).boxes) > MOST_BOXES


def test_shortcuts_are_what_distinguishes_the_five_layers():
    plain, short = flow(stack(shortcut=False)), flow(stack(shortcut=True))
    assert [edge.shortcut for edge in plain.edges] == [False] * len(plain.edges)
    assert sum(edge.shortcut for edge in short.edges) == 4
    assert kinds(short).count("+") == 4
    assert kinds(plain) == [kind for kind in kinds(short) if kind != "+"]


def test_a_residual_addition_reads_what_came_in_not_what_the_norm_made_of_it():
    drawn = flow(decoder(6))
    first = next(edge for edge in drawn.edges if edge.shortcut)
    tail = next(box for box in drawn.boxes if box.name == first.tail)
    assert [step.kind for step in tail.steps] == ["Embedding"]


def test_attention_knows_query_key_and_value():
    drawn = flow(decoder(6))
    roles = {edge.role: edge.tail for edge in drawn.edges if edge.role}
    made_by = {box.name: box.steps[0].kind for box in drawn.boxes if box.steps}
    assert {role: made_by[tail] for role, tail in roles.items()} == {"Q": "RoPE", "K": "RoPE", "V": "Linear"}


def test_shapes_are_told_where_they_change():
    drawn = flow(decoder(6))
    last = drawn.edges[-1]
    assert last.shape == (2, 4, 100)
    box = {each.name: each for each in drawn.boxes}
    assert all(edge.shape is None for edge in drawn.edges if box[edge.tail].form == SIGN and box[edge.tail].title == "+")


def test_a_tied_head_is_counted_where_the_tensor_is_used_first():
    tape = Tape()
    value = tape.embedding("embed", tape.input("tokens"))
    tape.modules["head"] = "Linear"
    out = tape.call("linear", value, tape.tie("head.weight", "embed.weight"), within="head", shape=(2, 4, 100))
    drawn = flow(tape.calls(out))
    head = drawn.boxes[-2].steps[0]
    assert (head.note, head.detail, head.parameters) == ("tied", "to embed", None)
    assert "800 parameters" in str(drawn.facts[1][0])


def test_a_parameter_that_is_added_is_a_box_of_its_own():
    tape = Tape()
    value = tape.input("x", (2, 8), "float32")
    drawn = flow(tape.calls(tape.call("add", value, tape.keep("bias", (8,)))))
    assert kinds(drawn) == ["x", "Parameter", "+", "output"]


def test_what_is_written_in_place_is_read_afterwards():
    tape = Tape()
    value = tape.linear("fc", tape.input("x", (2, 8), "float32"))
    tape.call("relu_", value)
    drawn = flow(tape.calls(value))
    assert "Linear ReLU" in kinds(drawn)


def test_halves_that_are_written_side_by_side_are_concatenated():
    tape = Tape()
    x = tape.input("x", (2, 8), "float32")
    a, b = tape.linear("a", x), tape.linear("b", x)
    whole = tape.call("new_empty", a)
    half = (2, 4, 4)
    tape.call("copy_", tape.call("slice", whole, shape=half), a, shape=half)
    tape.call("copy_", tape.call("slice", whole, shape=half), b, shape=half)
    assert kinds(flow(tape.calls(tape.linear("c", whole)))).count("concatenate") == 1


def test_layers_with_something_between_them_are_not_folded():
    tape = Tape()
    value = tape.linear("stem", tape.input("x", (2, 8), "float32"))
    for number in range(30):
        tape.modules[f"layers.{number}"] = "Sequential"
        value = tape.call("add", value, tape.linear(f"layers.{number}.0", value))
    drawn = flow(tape.calls(value))
    assert not any(box.form == MORE for box in drawn.boxes)
    assert kinds(drawn).count("+") == 30


def test_a_model_through_which_nothing_flows_is_refused():
    tape = Tape()
    tape.input("x")
    with pytest.raises(DrawingError, match="nothing flows"):
        flow(tape.calls(tape.call("arange", shape=(4,))))


def test_ends_are_the_inputs_that_matter_and_the_outputs():
    tape = Tape()
    tape.input("unused")
    value = tape.linear("fc", tape.input("x", (2, 8), "float32"))
    drawn = flow(tape.calls(value, tape.linear("fc2", value)))
    assert [box.title for box in drawn.boxes if box.form == END] == ["x", "output 1", "output 2"]
