"""Renames: wrappers, prefixes, numbers that are kept, and no guess where two are equally good."""

from __future__ import annotations

from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelscope_cli.analysis import renames
from modelscope_cli.analysis.conventions import WRAPPERS
from modelscope_cli.analysis.rename_units import shared
from modelscope_cli.analysis.renames import MOST_CANDIDATES, Side, find_renames
from tests.tables import linear, transformer


def side(shapes, roles=None) -> Side:
    return Side(list(shapes), list(shapes.values()), roles or ["weight"] * len(shapes))


def renamed(old, new, roles=(None, None)) -> dict[str, str]:
    """Old name → new name of all tensors that were renamed."""
    before, after = side(old, roles[0]), side(new, roles[1])
    couples = [couple for rename in find_renames(before, after) for couple in rename.couples]
    assert len({first for first, _ in couples}) == len({second for _, second in couples}) == len(couples)
    return {before.names[first]: after.names[second] for first, second in couples}


def rules(old, new) -> list[tuple[list[str], list[str], int]]:
    return [(rename.olds, rename.news, len(rename.couples)) for rename in find_renames(side(old), side(new))]


def mapped(shapes, change) -> dict:
    return {change(name): shape for name, shape in shapes.items()}


@pytest.mark.parametrize("wrapper", [*WRAPPERS, "module._orig_mod", "net", "model_state_dict", "a.b.c"])
def test_a_prefix_on_everything_is_one_rename(wrapper):
    shapes = transformer()
    wrapped = mapped(shapes, lambda name: f"{wrapper}.{name}")
    assert rules(shapes, wrapped) == [([""], [f"{wrapper}."], len(shapes))]
    assert rules(wrapped, shapes) == [([f"{wrapper}."], [""], len(shapes))]


def test_a_wrapper_inside_names_is_one_rename_for_all_layers():
    shapes = transformer(layers=3)
    wrapped = mapped(
        {name: shape for name, shape in shapes.items() if ".mlp." in name},
        lambda name: name.replace("mlp", "mlp._checkpoint_wrapped_module"),
    )
    old = {name: shape for name, shape in shapes.items() if ".mlp." in name}
    ((olds, news, tensors),) = rules(old, wrapped)
    assert olds == [f"model.layers.{n}.mlp." for n in range(3)]
    assert news == [f"model.layers.{n}.mlp._checkpoint_wrapped_module." for n in range(3)]
    assert tensors == len(old)


def test_a_wrapped_tensor_may_have_another_shape():
    assert renamed({"head.weight": (10, 4)}, {"module.head.weight": (12, 4)}) == {"head.weight": "module.head.weight"}


def test_names_that_become_equal_in_two_ways_are_left_alone():
    assert renamed({"w": (4,)}, {"module.w": (4,), "_orig_mod.w": (4,)}) == {}


def test_a_name_that_is_nothing_but_a_wrapper_stays():
    assert renamed({"module": (4,)}, {"_orig_mod": (5,)}) == {}


def test_a_prefix_is_replaced_for_all_layers_at_once():
    old = {f"transformer.h.{n}.{part}.weight": (4, n % 2 + 1) for n in range(6) for part in ("attn.qkv", "mlp.up")}
    new = mapped(old, lambda name: name.replace("transformer.h.", "model.layers."))
    assert rules(old, new) == [(["transformer.h."], ["model.layers."], 12)]


def test_a_part_in_the_middle_is_replaced_and_numbers_stay():
    old = {f"blocks.{n}.attn.{part}.weight": (4, 4) for n in range(5) for part in ("qkv", "out")}
    new = mapped(old, lambda name: name.replace("attn", "attention"))
    assert renamed(old, new) == {name: name.replace("attn", "attention") for name in old}
    assert len(rules(old, new)) == 1


def test_a_prefix_with_another_number_is_found_by_the_names_behind_it():
    old = {f"features.{n}.weight": (4, n + 1) for n in range(5)}
    assert renamed(old, mapped(old, lambda name: f"0.{name}")) == {name: f"0.{name}" for name in old}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("encoder.proj.weight", "classifier.out.weight"),
        ("l.q.weight", "l.v.weight"),
        ("wte.weight", "embed_tokens.weight"),
        ("xfc.weight", "fc.weight"),  # no prefix: it ends within a part
    ],
)
def test_a_last_part_in_common_is_no_rename(old, new):
    assert renamed({old: (50, 8)}, {new: (50, 8)}) == {}


def test_nor_is_it_for_many_tensors_of_one_shape():
    old = {f"layers.{n}.q.weight": (4, 4) for n in range(6)}
    assert renamed(old, mapped(old, lambda name: name.replace("q", "v"))) == {}


@pytest.mark.parametrize(
    ("old", "new"),
    [("fc.weight", "net.fc.weight"), ("net.fc.weight", "net.inner.fc.weight"), ("fc.w", "net.x.fc.w"), ("w", "net.w")],
)
def test_a_prefix_more_or_less_is_a_rename_of_a_single_tensor(old, new):
    assert renamed({old: (4,)}, {new: (4,)}) == {old: new}
    assert renamed({new: (4,)}, {old: (4,)}) == {new: old}


def test_tensors_of_several_shapes_speak_for_a_rename():
    assert renamed(linear("fc", 4, 8), linear("head", 4, 8)) == {"fc.weight": "head.weight", "fc.bias": "head.bias"}


def test_a_submodule_in_common_speaks_for_a_rename():
    assert renamed({"encoder.proj.weight": (4, 4)}, {"backbone.proj.weight": (4, 4)}) == {
        "encoder.proj.weight": "backbone.proj.weight"
    }


def test_another_shape_is_another_tensor():
    assert renamed({"wte.weight": (50, 8)}, {"embed_tokens.weight": (51, 8)}) == {}


def test_where_two_are_equally_good_neither_is_taken():
    old = {"layer.w1.weight": (4, 4), "layer.w3.weight": (4, 4)}
    new = {"layer.gate.weight": (4, 4), "layer.up.weight": (4, 4)}
    assert renamed(old, new) == {}
    assert renamed(old, {"layer.gate.weight": (4, 4)}) == {}


def test_of_two_copies_the_one_with_the_same_roles_is_taken():
    shapes = transformer(layers=2)
    nested = mapped(shapes, lambda name: f"ema.{name}") | mapped(shapes, lambda name: f"model.{name}")
    roles = ["ema"] * len(shapes) + ["weight"] * len(shapes)
    assert renamed(shapes, nested, (None, roles)) == {name: f"model.{name}" for name in shapes}


def test_most_of_what_is_left_has_to_fit():
    old = linear("norm", 1, 8) | {"norm.bias": (8,)}
    new = {"proj.weight": (8, 8), "proj.bias": (8,)}
    assert renamed(old, new) == {}  # a bias of the same length is no reason to call norm proj


def test_layers_that_are_gone_are_not_found_in_those_that_stay():
    old = {f"net.layers.{n}.weight": (4, 4) for n in range(8)}
    new = {f"encoder.layers.{n}.weight": (4, 4) for n in range(5)}
    assert renamed(old, new) == {f"net.layers.{n}.weight": f"encoder.layers.{n}.weight" for n in range(5)}


def test_an_ending_that_too_many_share_says_nothing():
    count = MOST_CANDIDATES + 1
    old = {f"a{chr(97 + n % 26)}{chr(97 + n // 26)}.weight": (4,) for n in range(count)}
    assert renamed(old, mapped(old, lambda name: "b" + name)) == {}


def test_names_that_occur_twice_are_left_alone():
    twice = Side(["a.w", "a.w"], [(2,), (2,)], ["weight"] * 2)
    assert find_renames(twice, side({"b.w": (2,)})) == find_renames(side({"b.w": (2,)}), twice) == []


def test_names_with_the_sign_for_numbers_do_no_harm():
    old = {"a.\0.1.w": (2,), "a.1.\0.w": (2,), "a.2.3.w": (2,)}
    assert set(renamed(old, mapped(old, lambda name: f"net.{name}"))) >= {"a.2.3.w"}


class Counted(dict):
    """Counts what is asked of it."""

    asked = 0

    def __contains__(self, key):
        Counted.asked += 1
        return super().__contains__(key)


@pytest.mark.parametrize("turned", [False, True])
def test_numbers_are_compared_by_the_side_with_fewer_of_them(turned):
    many = Counted({(str(number),): number for number in range(100_000)})
    few = Counted({(str(number),): number for number in (7, 3, 200_000)})
    Counted.asked = 0
    assert shared(*((few, many) if turned else (many, few))) == ([(7, 7), (3, 3)] if turned else [(3, 3), (7, 7)])
    assert Counted.asked == 3
    assert shared(many, ((), 5)) == shared(((), 5), many) == []
    assert shared((("7",), 1), many) == [(1, 7)]
    assert shared(many, (("7",), 1)) == [(7, 1)]


def test_names_of_too_many_parts_are_compared_as_far_as_there_is_time(monkeypatch):
    old = {f"p{n}." + "a." * 30 + f"w{n}": (1,) for n in range(50)}
    new = {f"q{n}." + "a." * 30 + f"w{n}": (1,) for n in range(50)}
    whole = renamed(old, new)
    assert len(whole) == 50
    monkeypatch.setattr(renames, "MOST_STEPS", 500)  # five of the 31 parts
    assert renamed(old, new).items() <= {name: name.replace("p", "q") for name in old}.items()


def test_replacements_are_tried_as_long_as_there_is_time(monkeypatch):
    old = {f"p{chr(97 + n)}.a.w{chr(97 + n)}": (1,) for n in range(20)}
    new = mapped(old, lambda name: "q" + name)
    assert len(renamed(old, new)) == 20
    monkeypatch.setattr(renames, "MOST_WORK", 50)
    monkeypatch.setattr(renames, "MOST_LITERAL", 0)
    assert renamed(old, new) == {}


PARTS = st.sampled_from(["a", "b", "module", "layers", "0", "1", "7", "", "w", "_orig_mod", "\0"])
SHAPES = st.dictionaries(
    st.lists(PARTS, min_size=1, max_size=5).map(".".join), st.sampled_from([(), (2,), (3,), (2, 2)]), max_size=14
)
ROLES = st.sampled_from(["weight", "ema"])


@given(SHAPES, SHAPES, st.data())
def test_the_other_way_round_is_the_same(old, new, data):
    old_roles = data.draw(st.lists(ROLES, min_size=len(old), max_size=len(old)))
    new_roles = data.draw(st.lists(ROLES, min_size=len(new), max_size=len(new)))
    there = renamed(old, new, (old_roles, new_roles))
    back = renamed(new, old, (new_roles, old_roles))
    assert there == {first: second for second, first in back.items()}


@given(SHAPES, SHAPES)
def test_prefixes_are_those_of_the_names(old, new):
    before, after = side(old), side(new)
    for rename in find_renames(before, after):
        pairs = set(zip(rename.olds, rename.news, strict=True))
        for first, second in rename.couples:
            one, other = before.names[first], after.names[second]
            assert any(
                one.startswith(old_prefix)
                and other.startswith(new_prefix)
                and one[len(old_prefix) :] == other[len(new_prefix) :]
                for old_prefix, new_prefix in pairs
            )


@given(SHAPES, st.sampled_from(["net.", "x.y.", "model_state_dict."]))
def test_a_common_prefix_is_always_found(shapes, prefix):
    names = {name for name in shapes if "\0" not in name}
    found = renamed(shapes, mapped(shapes, lambda name: prefix + name))
    if len(names) == len(shapes):
        assert found == {name: prefix + name for name in shapes}


def test_many_names_do_not_take_long():
    """The work grows with the names, not with their square: eight times as many take far less than sixty-four times as long."""

    def seconds(layers: int) -> float:
        shapes = {f"net.{n}.e.{e}.{part}.weight": (4, 4) for n in range(layers) for e in range(32) for part in ("x", "y", "z")}
        other = mapped(shapes, lambda name: name.replace(".x.", ".p.").replace(".y.", ".q.").replace("net.", "model."))
        start = process_time()
        find_renames(side(shapes), side(other))
        return process_time() - start

    assert seconds(160) < 40 * max(seconds(20), 0.005)
