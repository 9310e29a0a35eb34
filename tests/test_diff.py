"""`diff`: every tensor has one fate, nothing is lost from the sums, and nothing depends on which side comes first."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelscope_cli import read
from modelscope_cli.analysis import diff_tables
from modelscope_cli.analysis.diff import compare
from modelscope_cli.analysis.diff_header import headline
from modelscope_cli.analysis.diff_report import sections, to_report
from modelscope_cli.analysis.diff_tree import ORDERS, ChangeTree
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.core.checkpoint import GlobalUse, Note, PickleTrace
from modelscope_cli.core.condensed import condensed
from modelscope_cli.core.tensor import NOWHERE, View
from modelscope_cli.formats.baseline_writer import describe
from modelscope_cli.render.cells import words
from modelscope_cli.report.document import COMPLETE, EVERYTHING, READABLE, Table
from tests.builders.pickle_code import Code, call
from tests.builders.pickle_code import name as dtype_named
from tests.builders.safetensors_file import safetensors_bytes
from tests.builders.shards import sharded_folder
from tests.builders.torch_code import EMPTY_HOOKS, module, ordered, parameter, storage, tensor
from tests.builders.torch_file import torch_zip_bytes
from tests.tables import checkpoint_of, linear, transformer

DETAILS = (READABLE, COMPLETE, EVERYTHING)


def diff(old, new, *, old_ties=None, new_ties=None, **rest):
    return compare(checkpoint_of(old, ties=old_ties, **rest), checkpoint_of(new, ties=new_ties, **rest))


def table(found, key: str, detail: str = EVERYTHING) -> Table | None:
    return next((section for section in sections(found, detail) if section.key == key), None)


def cells(found, key: str, *columns: str, detail: str = EVERYTHING) -> list[tuple]:
    made = table(found, key, detail)
    if made is None:
        return []
    places = [[column.key for column in made.columns].index(column) for column in columns]
    return [tuple(row.cells[place] for place in places) for row in made.rows]


def said(found) -> str:
    return words(headline(found, ChangeTree(found).rows), "auto", exact=True)


def shown(rows) -> list:
    """Labels and changes, nested."""
    return [
        (
            f"{row.label} ×{row.fold}" if row.fold > 1 else row.label,
            words(row.text, "auto"),
            *([shown(row.children)] if row.children else []),
        )
        for row in rows
    ]


# What happened to a tensor ------------------------------------------------------------------------------------------------


def test_a_checkpoint_and_itself_have_no_differences():
    found = diff(transformer(), transformer(), metadata={"epoch": 3, "loss": math.nan})
    assert not found.differs(strict=True)
    assert said(found) == "no differences"
    assert sections(found) == sections(found, EVERYTHING) == []
    assert to_report(found).sections[0].items[-2].text == "39,  all the same"


def test_shapes_dtypes_and_both():
    old = {"a.weight": (4, 4), "b.weight": (4, 4), "c.weight": (4,)}
    found = diff(old, {"a.weight": (4, 6), "b.weight:float16": (4, 4), "c.weight:float16": (5,)})
    assert cells(found, "tensor_changes", "name", "what", "change", "parameters_change", "bytes_change") == [
        ("a.weight", "reshaped", "4 × 4 → 4 × 6", 8, 32),
        ("b.weight", "retyped", "float32 → float16", 0, -32),
        ("c.weight", "reshaped, retyped", "4 float32 → 5 float16", 1, -6),
    ]
    assert said(found) == "+9 parameters (+25.0 %), −6 B; 2 tensors reshaped, 2 retyped"


def test_added_and_removed():
    found = diff({"a.w": (2, 2), "b.w": (3,)}, {"a.w": (2, 2), "c.w": (5,)})
    assert cells(found, "tensor_changes", "name", "change") == [("c.w", "added 5 float32"), ("b.w", "removed 3 float32")]
    assert found.counts == {"same": 1, "added": 1, "removed": 1, "renamed": 0}


def test_a_new_role_changes_the_parameters():
    found = compare(
        checkpoint_of({"m.weight": (4,)}, recorded={0: "parameter"}), checkpoint_of({"m.weight": (4,)}, recorded={0: "buffer"})
    )
    assert cells(found, "tensor_changes", "change", "parameters_change", "bytes_change") == [("weight → buffer", -4, 0)]


TIED = {"head.weight": "wte.weight"}
SHAPES = {"wte.weight": (10, 4), "fc.weight": (4, 4), "head.weight": (10, 4)}


def parts_of(kind: str, count: int = 3) -> Code:
    """A 4 × 4 tensor: dense, quantised, or sparse with `count` elements."""
    values = tensor("values", (count,))
    size = (4, 4)
    if kind == "dense":
        return tensor("0", size)
    if kind == "coo":
        indices = tensor("indices", (2, count), "LongStorage")
        return call("torch._utils._rebuild_sparse_tensor", dtype_named("torch.sparse_coo"), (indices, values, size))
    if kind == "csr":
        rows, columns = tensor("rows", (5,), "LongStorage"), tensor("columns", (count,), "LongStorage")
        return call("torch._utils._rebuild_sparse_csr_tensor", dtype_named("torch.sparse_csr"), (rows, columns, values, size))
    held = storage("0", 16, "QInt8Storage")
    scheme = (dtype_named("torch.per_tensor_affine"), 0.5, 0)
    if kind == "per channel":
        scales, zeros = tensor("scales", (4,), "DoubleStorage"), tensor("zeros", (4,), "LongStorage")
        scheme = (dtype_named("torch.per_channel_affine"), scales, zeros, 0)
    return call("torch._utils._rebuild_qtensor", held, 0, size, (4, 1), scheme, False, EMPTY_HOOKS)


def packed(path, kind: str, count: int = 3):
    """A file with a tensor of such parts, read."""
    sizes = {"values": 4 * count, "indices": 16 * count, "rows": 40, "columns": 8 * count, "scales": 32, "zeros": 32, "0": 64}
    if kind.startswith("per"):
        sizes["0"] = 16
    used = {"dense": "0", "coo": "values indices", "csr": "values rows columns", "per tensor": "0"}
    keys = used.get(kind, "0 scales zeros").split()
    path.write_bytes(torch_zip_bytes(ordered({"a.weight": parts_of(kind, count)}), {key: sizes[key] for key in keys}))
    return read(str(path))


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ("per tensor", "per channel", "1 part: qint8 4 × 4 → 3 parts: qint8 4 × 4, float64 4, int64 4"),
        ("coo", "dense", "2 parts: float32 3, int64 2 × 3 → 1 part: float32 4 × 4"),
        ("coo", "csr", "2 parts: float32 3, int64 2 × 3 → 3 parts: float32 3, int64 5, int64 3"),
    ],
)
def test_another_layout_is_a_change(tmp_path, first, second, said):
    old, new = packed(tmp_path / "old.pt", first), packed(tmp_path / "new.pt", second)
    for found in (compare(old, new), compare(new, old)):
        assert found.differs()
        assert found.stored == 0
        assert found.aspects == {"layout changed": 1}
        assert not any("[compression]" in row.cells for row in table(found, "modules").rows)
        check_sums(found)
    assert cells(compare(old, new), "tensor_changes", "what", "change") == [("layout changed", said)]


def test_other_numbers_of_elements_are_another_layout_and_equal_ones_are_not(tmp_path):
    three, four = packed(tmp_path / "3.pt", "coo"), packed(tmp_path / "4.pt", "coo", 4)
    assert compare(three, four).aspects == {"layout changed": 1}
    assert not compare(three, packed(tmp_path / "again.pt", "coo")).differs(strict=True)
    baseline = tmp_path / "3.baseline.json"
    baseline.write_bytes(describe(three))
    assert not compare(read(str(baseline)), three).differs()


def test_other_layouts_with_equal_figures_do_not_fold():
    old, new = (checkpoint_of({f"layers.{n}.w": (4,) for n in range(3)}) for _ in range(2))
    for n, extent in enumerate((2, 2, 3)):
        for made in (old, new):
            view = View(NOWHERE, 0, (extent if made is new else 1,), made.tensors.dtypes[n], None)
            made.tensors.parts[n] = (view, view)
    assert shown(ChangeTree(compare(old, new)).rows) == [
        (
            "layers",
            "3 layout changed",
            [
                ("0–1.w ×2", "2 parts: float32 1, float32 1 → 2 parts: float32 2, float32 2"),
                ("2.w", "2 parts: float32 1, float32 1 → 2 parts: float32 3, float32 3"),
            ],
        )
    ]


def test_untied_and_tied():
    found = diff(SHAPES, SHAPES, old_ties=TIED)
    assert cells(found, "tensor_changes", "name", "change", "parameters_change", "bytes_change") == [
        ("head.weight", "untied from wte.weight", 40, 160)
    ]
    back = diff(SHAPES, SHAPES, new_ties=TIED)
    assert cells(back, "tensor_changes", "change", "parameters_change") == [("tied to wte.weight", -40)]


def test_tied_to_another():
    shapes = {"a.w": (4,), "b.w": (4,), "c.w": (4,)}
    found = diff(shapes, shapes, old_ties={"c.w": "a.w"}, new_ties={"c.w": "b.w"})
    assert cells(found, "tensor_changes", "name", "change", "parameters_change") == [("c.w", "tied to b.w instead of a.w", 0)]


def test_what_was_tied_is_said_where_it_went():
    found = diff(SHAPES, {name: SHAPES[name] for name in ("wte.weight", "fc.weight")}, old_ties=TIED)
    assert shown(ChangeTree(found).rows) == [("head", "removed ~Linear 4 → 10, was tied to wte.weight")]
    assert found.parameters.change == 0


def test_the_owner_that_stays_keeps_what_was_shared():
    found = diff(SHAPES, {name: SHAPES[name] for name in ("fc.weight", "head.weight")}, old_ties=TIED)
    assert found.counts == {"same": 2, "removed": 1, "renamed": 0}
    assert cells(found, "tensor_changes", "name", "change", "parameters_change", "bytes_change") == [
        ("wte.weight", "removed 10 × 4 float32, was tied to head.weight", 0, 0)
    ]


def test_which_tied_name_comes_first_makes_no_difference():
    new = {"head.weight": (10, 4), "fc.weight": (4, 4), "wte.weight": (10, 4)}
    found = diff(SHAPES, new, old_ties=TIED, new_ties={"wte.weight": "head.weight"})
    assert not found.differs()


def test_a_renamed_tensor_that_changed_is_both():
    found = diff({"head.weight": (10, 4), "b.w": (2,)}, {"module.head.weight": (12, 4), "module.b.w": (2,)})
    assert cells(found, "renames", "old", "new", "tensors") == [("*", "module.*", 2)]
    assert cells(found, "tensor_changes", "name", "what") == [("module.head.weight", "renamed, reshaped")]
    assert found.counts == {"same": 0, "renamed": 2}
    assert [row.label for row in ChangeTree(found).rows] == ["module.head.weight"]


def test_a_rename_alone_has_no_rows_in_the_tree():
    shapes = transformer()
    found = diff(shapes, {f"module.{name}": shape for name, shape in shapes.items()})
    assert [section.key for section in sections(found)] == ["renames"]
    assert said(found) == "the same parameters; 39 tensors renamed"
    assert found.differs()


def test_every_layer_with_another_prefix_is_one_line():
    old = {f"blocks.{n}.attn.weight": (4, n + 1) for n in range(12)}
    found = diff(old, {name.replace("attn", "attention"): shape for name, shape in old.items()})
    assert cells(found, "renames", "old", "new", "tensors") == [("blocks.{0-11}.attn.*", "blocks.{0-11}.attention.*", 12)]


# The tree -----------------------------------------------------------------------------------------------------------------


def test_only_modules_that_changed_have_rows_and_the_largest_come_first():
    shapes = transformer(layers=2)
    new = {**shapes, "model.norm.weight": (9,), "model.embed_tokens.weight": (51, 8)}
    assert shown(ChangeTree(diff(shapes, new)).rows) == [
        ("model", "2 reshaped", [("embed_tokens.weight", "50 × 8 → 51 × 8"), ("norm.weight", "8 → 9")])
    ]


def test_equal_changes_of_numbered_modules_fold_neighbours_or_not():
    old = {f"layers.{n}.fc.weight": (4, 4) for n in range(6)}
    new = {**old, **{f"layers.{n}.fc.weight": (4, 5) for n in (0, 1, 4)}}
    (row,) = ChangeTree(diff(old, new)).rows
    assert shown([row]) == [("layers.0–1,4.fc.weight ×3", "4 × 4 → 4 × 5")]
    assert (row.parameters_change, row.nbytes_change, row.parameters) == (12, 48, [48, 60])


def test_folds_inside_folds_count_all_copies():
    old = {f"layers.{n}.experts.{e}.{part}.weight": (4, 4) for n in range(3) for e in range(5) for part in ("up", "down")}
    new = {name + ("" if "up" in name else ":float16"): ((4, 6) if "up" in name else shape) for name, shape in old.items()}
    (row,) = ChangeTree(diff(old, new)).rows
    assert shown([row]) == [
        (
            "layers.0–2 ×3",
            "15 reshaped, 15 retyped",
            [
                (
                    "experts.0–4 ×5",
                    "15 reshaped, 15 retyped",
                    [("up.weight", "4 × 4 → 4 × 6"), ("down.weight", "float32 → float16")],
                )
            ],
        )
    ]
    assert row.parameters_change == 15 * 8


def test_a_module_that_is_new_as_a_whole_is_one_row_with_its_kind():
    new = transformer(layers=4)
    found = diff(transformer(layers=2), new)
    (row,) = ChangeTree(found).rows
    assert shown([row]) == [("model.layers.2–3 ×2", "added ~decoder layer, 18 tensors")]
    assert (row.parameters[0], row.status, row.whole) == (0, "added", True)
    assert said(found).endswith("; 2 modules added")
    assert cells(found, "modules", "label", "parameters_growth", "bytes_growth")[0] == ("model.layers.2–3 ×2", None, None)


def test_growth_is_that_of_the_whole_module():
    old = linear("fc", 4, 4) | linear("out", 4, 4)
    found = diff(old, {**old, "fc.bias": (14,)})
    assert cells(found, "modules", "label", "parameters_growth") == [
        ("fc.bias", 2.5),
        ("TOTAL", 0.25),
    ]
    found = diff(old, {**old, "fc.bias": (14,), "fc.weight": (4, 5)})
    assert cells(found, "modules", "label", "parameters_growth")[0] == ("fc", pytest.approx(14 / 20))


def test_optimizer_state_stands_under_its_entries(tmp_path):
    def training(count: int) -> bytes:
        state = {n: {"exp_avg": tensor(f"{n}a", (2, 3)), "exp_avg_sq": tensor(f"{n}b", (2, 3))} for n in range(count)}
        root = {
            "model": ordered({"fc.weight": tensor("m", (2, 3))}),
            "optimizer": {"state": state, "param_groups": [{"lr": 0.1, "params": list(range(count))}]},
        }
        keys = ["m", *[f"{n}{which}" for n in range(count) for which in "ab"]]
        return torch_zip_bytes(root, dict.fromkeys(keys, 24))

    for name, count in (("old.pt", 2), ("new.pt", 5)):
        (tmp_path / name).write_bytes(training(count))
    found = compare(read(str(tmp_path / "old.pt")), read(str(tmp_path / "new.pt")))
    assert shown(ChangeTree(found).rows) == [("optimizer", "6 added", [("exp_avg", "3 added"), ("exp_avg_sq", "3 added")])]


@pytest.mark.parametrize("order", ORDERS)
def test_orders(order):
    old = {"b.w": (4,), "c.w": (4,), "a.w": (4,)}
    rows = ChangeTree(diff(old, {"b.w": (5,), "c.w": (9,), "a.w": (6,)}), order).rows
    expected = {"change": ["c.w", "a.w", "b.w"], "order": ["b.w", "c.w", "a.w"], "name": ["a.w", "b.w", "c.w"]}
    assert [row.label for row in rows] == expected[order]


def test_an_unknown_order_is_refused():
    with pytest.raises(ValueError, match="not by 'size'"):
        ChangeTree(diff({}, {}), "size")


def test_the_tree_under_a_module():
    found = diff(transformer(layers=2), transformer(layers=4) | {"lm_head.weight": (51, 8)})
    assert shown(ChangeTree(found, under="lm_head").rows) == [("lm_head.weight", "50 × 8 → 51 × 8")]
    assert [row.label for row in ChangeTree(found, under="model.layers").rows] == ["model.layers.2–3"]
    assert ChangeTree(found, under="model.layer").rows == []


def test_the_tree_is_made_once_for_all_reports(monkeypatch):
    made = []
    build = ChangeTree.__init__
    monkeypatch.setattr(ChangeTree, "__init__", lambda self, *rest, **more: (made.append(self), build(self, *rest, **more))[1])
    found = diff(transformer(layers=2), transformer(layers=4))
    reports = [to_report(found, detail) for detail in DETAILS]
    assert made == [found.tree]
    assert reports == [to_report(compare(found.old, found.new), detail) for detail in DETAILS]


def test_rows_are_made_for_what_is_shown(monkeypatch):
    made = []
    build = diff_tables._tensor_row
    monkeypatch.setattr(diff_tables, "_tensor_row", lambda *rest: (made.append(rest), build(*rest))[1])
    found = diff({f"a{n:05}": (n % 7 + 1,) for n in range(3_000)}, {f"b{n:05}": (n % 5 + 1,) for n in range(3_000)})
    rows = table(found, "tensor_changes", READABLE).rows
    assert len(made) == len(rows) - 1 == diff_tables.MOST_ROWS - 1
    assert rows[-1].cells[2] == 6_000 - len(made)
    check_sums(found)


def test_patterns_do_not_depend_on_what_is_beside_them():
    old = {"{x}.w": (9,), "head": (3,), "07.w": (2,)} | {f"layers.{n}.w": (4,) for n in range(4)}
    assert sorted(cells(diff(old, {}), "tensor_changes", "name", "tensors")) == [
        ("07.w", 1),
        ("head", 1),
        ("layers.{0-3}.w", 4),
        ("{{x}.w", 1),
    ]


def test_names_of_a_hundred_thousand_dots_do_no_harm():
    deep = {"." * 100_000 + "w": (2,), ".".join("abc" * 30_000): (3,), "": (1,), "..": (2,), ".x.w": (1,), "x.w": (1,)}
    found = diff({"x.w": (1,)}, deep)
    assert found.counts["added"] == 5
    check_sums(found)


# Around the tensors -------------------------------------------------------------------------------------------------------


def test_another_format_is_the_same_model(tmp_path):
    shapes = {"wte.weight": (10, 4), "fc.weight": (4, 4)}
    held = {name: tensor(name, shape, strides=(1, shape[0])) for name, shape in shapes.items()}  # transposed in memory
    state = ordered({**held, "head.weight": held["wte.weight"]})
    sizes = {name: math.prod(shape) * 4 for name, shape in shapes.items()}
    (tmp_path / "model.bin").write_bytes(torch_zip_bytes(state, sizes, deflate=True))
    metadata = {"format": "pt", "wte.weight": "head.weight"}  # save_model kept the other of two tied names
    content = safetensors_bytes({"fc.weight": ("F32", (4, 4)), "head.weight": ("F32", (10, 4))}, metadata)
    (tmp_path / "model.safetensors").write_bytes(content)
    found = compare(read(str(tmp_path / "model.bin")), read(str(tmp_path / "model.safetensors")))
    assert not found.differs()
    assert found.differs(strict=True)
    assert said(found) == f"the same tensors; {len(found.container)} container-only differences"
    assert {aspect.key for aspect in found.container} == {
        "format",
        "order",
        "outside",
        "stored",
        "imports",
        "metadata.format",
    }
    check_sums(found)


def test_shards(tmp_path):
    layers = {f"layers.{n}.weight": ("F32", (4, 4)) for n in range(6)}
    names = list(layers)
    sets = {
        "three": {"a.safetensors": names[:2], "b.safetensors": names[2:4], "c.safetensors": names[4:]},
        "other": {"a.safetensors": names[:1], "b.safetensors": names[1:4], "c.safetensors": names[4:]},
        "two": {"a.safetensors": names[:3], "b.safetensors": names[3:]},
    }
    for folder, files in sets.items():
        (tmp_path / folder).mkdir()
        sharded_folder(tmp_path / folder, {file: {name: layers[name] for name in inside} for file, inside in files.items()})
    three, other, two = (read(str(tmp_path / folder)) for folder in sets)
    found = compare(three, other)
    assert cells(found, "moved", "name", "old", "new", "tensors") == [("layers.1.weight", "a.safetensors", "b.safetensors", 1)]
    assert not found.differs()
    assert found.differs(strict=True)
    found = compare(three, two)
    assert found.moved == []
    assert ("resharded", "3 files", "2 files") in [aspect[1:] for aspect in found.container]
    assert not found.differs()
    assert not compare(three, three).differs(strict=True)


def test_metadata_is_compared_by_key():
    old, new = {"epoch": 1, "args": {"lr": 0.1, "a.b": 1}, "gone": None}, {"epoch": 2, "args": {"lr": 0.1, "a": {"b": 1}}}
    found = compare(checkpoint_of({"w": (2,)}, metadata=old), checkpoint_of({"w": (2,)}, metadata=new))
    assert [change[:4] for change in found.metadata] == [
        ("epoch", "changed", 1, 2),
        ("args.a.b", "removed", 1, None),
        ("gone", "removed", None, None),
        ("args.a.b", "added", None, 1),
    ]
    assert found.differs()
    assert said(found) == "the same parameters; 4 values of the metadata changed"


@pytest.mark.parametrize(("old", "new"), [(1, True), (1, 1.0), ([1], [1.0]), ("1", 1), (None, "None"), ([1, 2], [2, 1])])
def test_values_of_other_types_are_others(old, new):
    found = compare(checkpoint_of({}, metadata={"k": old}), checkpoint_of({}, metadata={"k": new}))
    assert len(found.metadata) == 1


def test_a_long_value_is_compared_by_its_digest():
    long = list(range(500))
    digest = condensed(long)
    assert digest.startswith("sha256:")
    assert digest.endswith(" (1,891 characters)")
    assert condensed(digest) == digest
    kept = checkpoint_of({}, metadata={"k": digest})
    assert not compare(checkpoint_of({}, metadata={"k": long}), kept).metadata
    assert compare(checkpoint_of({}, metadata={"k": [*long[:-1], 7]}), kept).metadata


def test_only_containers_have_these_keys():
    old = checkpoint_of({"w": (2,)}, metadata={"format": "a"})
    found = compare(old, checkpoint_of({"w": (2,)}, metadata={"format": "b"}))
    assert found.differs()  # no safetensors: somebody's own key


def imports(*names: str):
    uses = tuple(GlobalUse(*name.rsplit(".", 1), 0, 1) for name in names)
    return checkpoint_of({"w": (2,)}, pickles=[PickleTrace("data.pkl", 10, 3, uses, None)])


def test_new_imports_are_told_and_strange_ones_warned_of():
    found = compare(imports("os.getcwd"), imports("os.system", "collections.OrderedDict"))
    assert found.differs()
    assert cells(found, "imports", "name", "status") == [("os.getcwd", "no longer imported"), ("os.system", "newly imported")]
    (findings,) = [section for section in sections(found) if section.key == "findings"]
    assert [finding.severity for finding in findings.items] == ["warning"]
    assert "os.system" in findings.items[0].message
    assert "OrderedDict" not in findings.items[0].message
    assert not any(section.key == "findings" for section in sections(compare(imports("os.system"), imports("os.system"))))


def test_imports_that_rebuild_data_belong_to_the_container():
    found = compare(imports(), imports("collections.OrderedDict"))
    assert not found.differs()
    assert [aspect.key for aspect in found.container] == ["imports"]


def test_recorded_attributes_are_compared(tmp_path):
    for name, shortcut in (("old.pt", False), ("new.pt", True)):
        fc = module("torch.nn.modules.linear.Linear", {"weight": parameter(tensor("0", (2, 3)))}, in_features=3)
        (tmp_path / name).write_bytes(torch_zip_bytes(module("shop.Model", fc=fc, shortcut=shortcut), {"0": 24}))
    found = compare(read(str(tmp_path / "old.pt")), read(str(tmp_path / "new.pt")))
    assert [change[:4] for change in found.metadata] == [("module.shortcut", "changed", False, True)]


def test_what_could_not_be_read_is_told():
    lost = checkpoint_of({"w": (2,)}, notes=[Note("shard-unreadable", "error", "b.bin", "is damaged")])
    report = to_report(compare(checkpoint_of({"w": (2,)}), lost))
    assert report.failed
    assert report.sections[-1].items[0].where == "new, b.bin"


def test_a_view_that_was_cloned_saves_its_storage(tmp_path):
    whole = {"a.weight": tensor("0", (2, 3), numel=100)}
    (tmp_path / "old.pt").write_bytes(torch_zip_bytes(ordered(whole), {"0": 400}))
    (tmp_path / "new.pt").write_bytes(torch_zip_bytes(ordered({"a.weight": tensor("0", (2, 3))}), {"0": 24}))
    found = compare(read(str(tmp_path / "old.pt")), read(str(tmp_path / "new.pt")))
    assert not found.differs()
    assert ("unused", 376, 0) in [(aspect.key, aspect.old, aspect.new) for aspect in found.container]
    check_sums(found)


def test_overlaps_that_are_gone_are_a_change(tmp_path):
    shared = {"a.weight": tensor("0", (6,), numel=8), "b.weight": tensor("0", (6,), numel=8, offset=2)}
    (tmp_path / "old.pt").write_bytes(torch_zip_bytes(ordered(shared), {"0": 32}))
    apart = {"a.weight": tensor("0", (6,)), "b.weight": tensor("1", (6,))}
    (tmp_path / "new.pt").write_bytes(torch_zip_bytes(ordered(apart), {"0": 24, "1": 24}))
    found = compare(read(str(tmp_path / "old.pt")), read(str(tmp_path / "new.pt")))
    assert cells(found, "tensor_changes", "name", "change", "parameters_change", "bytes_change") == [
        ("b.weight", "2 of 6 elements its own → 6 of 6 elements its own", 4, 16)
    ]
    check_sums(found)


def test_tensors_without_data(tmp_path):
    meta = call("torch._utils._rebuild_meta_tensor_no_storage", dtype_named("torch.float32"), (4,), (1,), False)
    (tmp_path / "old.pt").write_bytes(torch_zip_bytes({"w": tensor("0", (4,)), "m": meta}, {"0": 16}))
    found = compare(read(str(tmp_path / "old.pt")), read(str(tmp_path / "old.pt")))
    assert not found.differs(strict=True)
    found = compare(read(str(tmp_path / "old.pt")), checkpoint_of({"w": (4,), "m": (4,)}))
    check_sums(found)


def test_ready_ledgers_are_taken():
    old, new = Ledger(checkpoint_of({"w": (2,)})), Ledger(checkpoint_of({"w": (3,)}))
    found = compare(old, new)
    assert (found.old, found.new) == (old, new)
    assert repr(found) == "<Diff 'model.pt' 'model.pt': 1 changed>"


# Properties ---------------------------------------------------------------------------------------------------------------

PARTS = st.sampled_from(["a", "b", "layers", "0", "1", "2", "10", "module", "fc", "running_mean"])
LEAVES = st.sampled_from(["weight", "bias", "w", "running_mean", "0"])
NAMES = st.builds(lambda parts, leaf: ".".join([*parts, leaf]), st.lists(PARTS, max_size=4), LEAVES)
DTYPES = st.sampled_from(["", ":float16", ":int64"])
TABLES = st.dictionaries(NAMES, st.tuples(st.sampled_from([(), (2,), (3,), (2, 3), (0,)]), DTYPES), max_size=16)


@st.composite
def checkpoints(draw, like=None):
    """A checkpoint; some tensors may be tied to earlier ones of their shape and dtype. Half of it may be like another."""
    tables = draw(TABLES)
    if like is not None:
        kept = [name for name in like if draw(st.integers(0, 3))]
        prefix = draw(st.sampled_from(["", "", "module.", "net."]))
        tables = {prefix + name: like[name] for name in kept} | tables
    ties: dict[str, str] = {}
    firsts: dict[object, str] = {}
    for name, held in tables.items():
        first = firsts.setdefault(held, name)
        if first != name and draw(st.booleans()):
            ties[name] = first
    metadata = draw(st.dictionaries(st.sampled_from("abc"), st.sampled_from([1, True, "x", [1, 2], math.nan]), max_size=3))
    made = checkpoint_of({name + dtype: shape for name, (shape, dtype) in tables.items()}, ties=ties, metadata=metadata)
    return made, tables


@st.composite
def pairs(draw):
    old, tables = draw(checkpoints())
    new, _ = draw(checkpoints(tables))
    return old, new


def check_sums(found) -> None:
    """Rows add up to the difference of the totals, and rows inside to the row around them, under every detail."""
    difference = found.parameters.change, found.nbytes.change
    for detail in DETAILS:
        made = table(found, "modules", detail)
        if made is None:
            assert difference[1] == 0
            assert not found.changes
            continue
        *body, total = made.rows
        parameters, nbytes = (
            [column.key for column in made.columns].index(key) for key in ("parameters_change", "bytes_change")
        )
        assert total.cells[0] == "TOTAL"
        assert (total.cells[parameters], total.cells[nbytes]) == difference
        assert sum(row.cells[parameters] or 0 for row in body if row.level == 0) == difference[0]
        assert sum(row.cells[nbytes] for row in body if row.level == 0) == difference[1]
        for at, row in enumerate(body):
            inside = []
            for later in body[at + 1 :]:
                if later.level <= row.level:
                    break
                inside += [later] if later.level == row.level + 1 else []
            for place in (parameters, nbytes):
                assert not inside or (row.cells[place] or 0) == sum(child.cells[place] or 0 for child in inside)
        changes = table(found, "tensor_changes", detail)
        within = ChangeTree(found).within if detail == READABLE and changes is None else ()
        rows = changes.rows if changes is not None else ()
        assert sum(row.cells[3] for row in rows) + sum(change.parameters for change in within) == difference[0]
        tensors = sum(row.cells[2] for row in rows) + len(within)
        assert tensors == len(found.changes)


@settings(max_examples=200, deadline=None)
@given(pairs())
def test_sums(pair):
    check_sums(compare(*pair))


@settings(max_examples=200, deadline=None)
@given(pairs())
def test_every_tensor_has_one_fate(pair):
    found = compare(*pair)
    fates = [(change.status, change.old, change.new) for change in found.changes]
    known = {fate[1:] for fate in fates}
    fates += [("renamed", *couple) for rename in found.renames for couple in rename.couples if couple not in known]
    known = {fate[1:] for fate in fates}
    fates += [("same", old, new) for old, new in enumerate(found.partner) if new >= 0 and (old, new) not in known]
    assert sorted(old for _, old, _ in fates if old is not None) == list(range(len(found.old)))
    assert sorted(new for _, _, new in fates if new is not None) == list(range(len(found.new)))
    assert +Counter(status for status, _, _ in fates) == +found.counts
    for status, old, new in fates:
        if status == "same":
            assert found.old.names[old] == found.new.names[new]
            assert found.old.shapes[old] == found.new.shapes[new]
            assert found.old.dtypes[old] == found.new.dtypes[new]
            assert found.books[0].owned[old] == found.books[1].owned[new]


MIRRORED = {"added": "removed", "removed": "added", "tied": "untied", "untied": "tied"}


def fates(found) -> Counter:
    """What happened to which names, and the figures."""
    return Counter(
        (
            change.status,
            tuple(change.aspects),
            None if change.old is None else found.old.names[change.old],
            None if change.new is None else found.new.names[change.new],
            change.parameters,
            change.nbytes,
        )
        for change in found.changes
    )


@settings(max_examples=300, deadline=None)
@given(pairs())
def test_the_other_way_round_the_signs_turn(pair):
    old, new = pair
    there, back = compare(old, new), compare(new, old)
    assert fates(there) == Counter(
        {
            (MIRRORED.get(status, status), tuple(MIRRORED.get(a, a) for a in aspects), second, first, -parameters, -nbytes): n
            for (status, aspects, first, second, parameters, nbytes), n in fates(back).items()
        }
    )
    assert (there.differs(), there.differs(True)) == (back.differs(), back.differs(True))
    assert len(there.metadata) == len(back.metadata)
    if not there.renames:  # a renamed tensor stands under its new name
        one = {row.label: (row.parameters_change, row.nbytes_change) for row in ChangeTree(there, "name").rows}
        other = {row.label: (-row.parameters_change, -row.nbytes_change) for row in ChangeTree(back, "name").rows}
        assert one == other


@settings(max_examples=100, deadline=None)
@given(checkpoints())
def test_a_checkpoint_is_like_itself(made):
    found = compare(made[0], made[0])
    assert not found.differs(strict=True)
    assert sections(found, EVERYTHING) == []


@settings(max_examples=100, deadline=None)
@given(TABLES)
def test_order_is_no_difference_of_the_model(tables):
    shapes = {name + dtype: shape for name, (shape, dtype) in tables.items()}
    turned = checkpoint_of(dict(reversed(shapes.items())))
    assert not compare(checkpoint_of(shapes), turned).differs()
