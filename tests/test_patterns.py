"""Module patterns: which modules a pattern means, and that their figures are those of the ledger."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.analysis.overview import inspect
from modelscope_cli.checks.patterns import Pattern, direct_modules, enclosing, nearest_module
from modelscope_cli.formats.registry import read
from tests.builders.safetensors_file import safetensors_bytes
from tests.command import mscope
from tests.families import FAMILIES
from tests.judged import weights
from tests.opened import opened
from tests.snapshots.checkpoints import CHECKPOINTS

SHAPES = {
    "embed.weight": (10, 4),
    **{f"layers.{n}.{part}": shape for n in range(12) for part, shape in (("attn.q.weight", (4, 4)), ("attn.q.bias", (4,)), ("mlp.up.weight", (8, 4)))},
    "layers_extra.weight": (3,),
    "head.weight": (10, 4),
    "scale": (5,),
}  # fmt: skip
LEDGER = Ledger(opened(weights(SHAPES)))
EVERYTHING = {path for name in SHAPES for path in enclosing(name)}
LAYERS = [f"layers.{n}" for n in range(12)]
PATTERNS = {
    "embed": ["embed"], "scale": ["scale"], "layers": ["layers"], "layers.3": ["layers.3"], "layers.3.attn.q": ["layers.3.attn.q"],
    "layers.3.attn.q.bias": ["layers.3.attn.q.bias"], "lay": [], "layers.": None, "Embed": [], "layers.12": [], "embed.weight.x": [],
    # within one name
    "layers.*": LAYERS, "*.weight": ["embed.weight", "layers_extra.weight", "head.weight"], "layers.?": LAYERS[:10], "layers.??": LAYERS[10:],
    "layers.1*": ["layers.1", "layers.10", "layers.11"], "l*": ["layers", "layers_extra"], "*": ["embed", "layers", "layers_extra", "head", "scale"],
    "layers.*.mlp": [f"{path}.mlp" for path in LAYERS], "layers.*.*": [f"{path}.{part}" for path in LAYERS for part in ("attn", "mlp")],
    "???": [], "h*d": ["head"], "layers.*.*.*.*.*": [], "***": ["embed", "layers", "layers_extra", "head", "scale"], "lay**s": ["layers"],
    # numbers as the tables write them
    "layers.0–2": LAYERS[:3], "layers.0-2": LAYERS[:3], "layers.0–2 ×3": LAYERS[:3], "layers.0-2 x3": LAYERS[:3], "layers.0–2  ×3  ": LAYERS[:3],
    "layers.9–11": LAYERS[9:], "layers.0,4–5,11": [LAYERS[n] for n in (0, 4, 5, 11)], "layers.3–3": LAYERS[3:4], "layers.10–99": LAYERS[10:],
    "layers.0–1.attn.q": ["layers.0.attn.q", "layers.1.attn.q"], "layers.0–11.mlp.*": [f"{path}.mlp.up" for path in LAYERS], "layers.20–30": [],
    # any number of names
    "**.q": [f"{path}.attn.q" for path in LAYERS], "layers.**.bias": [f"{path}.attn.q.bias" for path in LAYERS], "**.embed": ["embed"],
    "layers.3.**": [f"layers.3.{path}" for path in ("attn", "attn.q", "attn.q.weight", "attn.q.bias", "mlp", "mlp.up", "mlp.up.weight")],
    "**.0–1.mlp": ["layers.0.mlp", "layers.1.mlp"], "**.**.q": [f"{path}.attn.q" for path in LAYERS],
    "layers.**.**.bias": [f"{path}.attn.q.bias" for path in LAYERS],
    "embed.**": ["embed.weight"], "scale.**": [], "**.3.**.q": ["layers.3.attn.q"], "**.nothing": [],
    # signs of regular expressions are none here
    "layers.(3|4)": [], "layers.[34]": [], "layers.\\d": [], "em.ed": [], "^embed$": [], "embe+d": [],
}  # fmt: skip


@pytest.mark.parametrize(("written", "paths"), PATTERNS.items())
def test_what_a_pattern_means(written, paths):
    if paths is None:
        with pytest.raises(ValueError, match="is not a module pattern"):
            Pattern(written)
        return
    pattern = Pattern(written)
    found = pattern.find(LEDGER)
    assert [module.path for module in found] == paths
    assert {path for path in EVERYTHING if pattern.fits(path)} == set(paths)
    for module in found:
        lines = [line for line, name in enumerate(LEDGER.names) if name == module.path or name.startswith(f"{module.path}.")]
        assert module.lines == lines
        assert module.parameters == sum(LEDGER.parameters[line] for line in lines) > 0
        assert module.nbytes == sum(LEDGER.nbytes[line] for line in lines) == 4 * module.parameters


@pytest.mark.parametrize(
    "written",
    ["", " ", ".", "a.", ".a", "a..b", "×3", "a" * 10_000, "a." * 600 + "b", "layers.5–0", "layers.3-1,5", "layers.0-100001", "layers.0-99999999999",
     "layers.99999999999-3", "layers.0-60000,0-60000", "layers.0,99999999999"],
    ids=lambda text: text[:20],
)  # fmt: skip
def test_what_can_match_nothing_is_refused(written):
    with pytest.raises(ValueError) as caught:
        Pattern(written)
    assert 20 < len(str(caught.value)) < 250


def test_numbers_with_leading_zeros_are_those_of_the_names():
    ledger = Ledger(opened(weights({f"layers.{n:02}.weight": (n + 1,) for n in range(12)})))
    assert [module.path for module in Pattern("layers.08–11").find(ledger)] == [
        "layers.08",
        "layers.09",
        "layers.10",
        "layers.11",
    ]
    assert Pattern("layers.00–01").fits("layers.00")
    assert not Pattern("layers.00–01").fits("layers.0")
    assert not Pattern("layers.0–1").fits("layers.00")


def test_names_with_empty_parts_and_line_breaks_are_found():
    ledger = Ledger(opened(weights({"a..weight": (2,), "b\n.weight": (3,), ".weight": (4,), "": (5,), "a.x.weight": (6,)})))
    for written, paths in {
        "*": ["a", "b\n", ""], "a.*": ["a.", "a.x"], "**.weight": ["a..weight", "b\n.weight", ".weight", "a.x.weight"], "?\n.*": ["b\n.weight"], "b?": ["b\n"],
    }.items():  # fmt: skip
        assert [module.path for module in Pattern(written).find(ledger) if module.path] == [path for path in paths if path]


def test_a_pattern_of_many_stars_comes_to_an_end():
    """In a process of its own: a regular expression that goes astray cannot be stopped in this one."""
    code = "from modelscope_cli.checks.patterns import Pattern; print(Pattern('**.' * 40 + 'b').fits('.'.join('a' * 60)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "False\n"


PARTS = st.sampled_from(["a", "b", "0", "1", "10", "weight", "bias", "層", "a b", "*", "x-y"])
NAMES = st.dictionaries(st.lists(PARTS, min_size=1, max_size=5).map(".".join), st.integers(1, 9), min_size=1, max_size=12)


@settings(deadline=None)
@given(NAMES)
def test_two_stars_find_every_module_and_tensor_with_its_sums(shapes):
    ledger = Ledger(opened(weights({name: (size,) for name, size in shapes.items()})))
    everything = {path for name in shapes for path in enclosing(name)}
    found = Pattern("**").find(ledger)
    assert {module.path for module in found} == everything
    assert len(found) == len(everything)
    for module in found:
        inside = [size for name, size in shapes.items() if name == module.path or name.startswith(module.path + ".")]
        assert module.nbytes == 4 * sum(inside)
    top = [module for module in found if "." not in module.path]
    assert sum(module.parameters for module in top) == ledger.total_parameters()
    assert sorted(line for module in top for line in module.lines) == list(range(len(ledger)))


@settings(deadline=None)
@given(NAMES, st.integers(1, 5))
def test_stars_take_a_level_each(shapes, depth):
    ledger = Ledger(opened(weights({name: (size,) for name, size in shapes.items()})))
    level = {path for name in shapes for path in enclosing(name) if path.count(".") == depth - 1}
    assert {module.path for module in Pattern(".".join(["*"] * depth)).find(ledger)} == level


@settings(deadline=None)
@given(NAMES)
def test_a_path_without_signs_means_itself_and_agrees_with_what_it_fits(shapes):
    ledger = Ledger(opened(weights({name: (size,) for name, size in shapes.items()})))
    for path in {path for name in shapes for path in enclosing(name)}:
        pattern = Pattern(path)
        found = pattern.find(ledger)
        assert path in [module.path for module in found]
        assert pattern.fits(path)
        if pattern.plain:
            assert [module.path for module in found] == [path]


def test_modules_by_themselves_hold_every_parameter_once():
    for shapes in FAMILIES.values():
        plain = {name.partition(":")[0]: ("I64" if ":" in name else "F32", shape) for name, shape in shapes.items()}
        ledger = Ledger(opened(safetensors_bytes(plain)))
        modules = direct_modules(ledger)
        assert sum(module.parameters for module in modules) == ledger.total_parameters() > 0
        lines = [line for module in modules for line in module.lines]
        assert len(lines) == len(set(lines)) == sum(1 for parameters in ledger.parameters if parameters)


@pytest.mark.parametrize("name", [*CHECKPOINTS.keys() - {"hostile"}, *FAMILIES])
def test_a_row_of_the_table_can_be_copied_as_a_pattern(name, tmp_path):
    """Every row at the left edge: its label finds as many modules as it stands for, with the figures of the row."""
    if name in CHECKPOINTS:
        checkpoint = read(str(tmp_path / CHECKPOINTS[name](tmp_path)))
    else:
        plain = {key.partition(":")[0]: ("I64" if ":" in key else "F32", shape) for key, shape in FAMILIES[name].items()}
        checkpoint = opened(safetensors_bytes(plain))
    overview = inspect(checkpoint)
    rows = [row for row in overview.tree.rows if not row.section and row.tensors]
    assert rows
    for row in rows:
        for label in {row.label, f"{row.label} ×{row.fold}" if row.fold > 1 else row.label}:
            found = Pattern(label).find(overview.ledger)
            assert len(found) == row.fold, label
            assert sum(module.parameters for module in found) == row.parameters, label
            assert sum(module.nbytes for module in found) == row.nbytes, label


@pytest.mark.parametrize("options", [(), ("--by", "module", "--depth", "9")], ids=["plain", "deep"])
def test_a_label_of_the_printed_table_is_a_pattern(tmp_path, monkeypatch, options):
    monkeypatch.chdir(tmp_path)
    CHECKPOINTS["decoder"](tmp_path)
    printed = mscope("inspect", "decoder.pth", *options).out
    assert "decoder.layers.0–2 ×3  " in printed
    found = Pattern("decoder.layers.0–2 ×3").find(Ledger(read("decoder.pth")))
    assert [module.path for module in found] == ["decoder.layers.0", "decoder.layers.1", "decoder.layers.2"]


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("embd", "did you mean 'embed'?"),
        ("layers.3.atn", "did you mean 'layers.3.attn'?"),
        ("layers.0–2 ×3.x", "did you mean 'layers"),
        ("zzzzzzzz", "at the top are embed, head, layers, layers_extra, scale"),
    ],
)
def test_the_nearest_module_is_named(written, hint):
    assert nearest_module(LEDGER, written).startswith(hint)


def test_without_a_tensor_there_is_nothing_near():
    assert nearest_module(Ledger(opened(weights({}))), "embed") == "it has no tensors"


def test_of_many_names_at_the_top_some_are_named():
    hint = nearest_module(Ledger(opened(weights({f"t{n}": (1,) for n in range(50)}))), "zzzzz")
    assert hint == "at the top are t0, t1, t10, t11, t12, t13, …"
