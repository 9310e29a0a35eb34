"""What people write for --input is one description, or is refused in words that say what is wrong with it."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from modelscope_cli.bridges.models.input_specs import (
    DTYPES,
    INTEGERS,
    MOST_DIMENSIONS,
    MOST_ELEMENTS,
    PLAIN,
    SHORT,
    InputSpec,
    parse,
    parse_all,
)
from modelscope_cli.errors import SettingsError

GOOD = {
    "int64[1,50]<98631": InputSpec(None, "int64", (1, 50), 98_631),
    "float32[1,3,224,224]": InputSpec(None, "float32", (1, 3, 224, 224)),
    "mask=bool[1,1,8,8]": InputSpec("mask", "bool", (1, 1, 8, 8)),
    "_x1=uint8[2]<1": InputSpec("_x1", "uint8", (2,), 1),
    "float64[]": InputSpec(None, "float64", ()),
    "float64[ ]": InputSpec(None, "float64", ()),
    "  float16[ 1,\t2 , 3 ]\n": InputSpec(None, "float16", (1, 2, 3)),
    "bfloat16[007]": InputSpec(None, "bfloat16", (7,)),
    "complex64[2]": InputSpec(None, "complex64", (2,)),
    "long[2]<9": InputSpec(None, "int64", (2,), 9),
    "int[2]": InputSpec(None, "int64", (2,)),
    "float[2]": InputSpec(None, "float32", (2,)),
    "half[2]": InputSpec(None, "float16", (2,)),
    "double[2]": InputSpec(None, "float64", (2,)),
    "float=float[1]": InputSpec("float", "float32", (1,)),
    f"int64[1]<{(1 << 63) - 1}": InputSpec(None, "int64", (1,), (1 << 63) - 1),
    f"float32[{MOST_ELEMENTS}]": InputSpec(None, "float32", (MOST_ELEMENTS,)),
    f"bool[{','.join('1' * MOST_DIMENSIONS)}]": InputSpec(None, "bool", (1,) * MOST_DIMENSIONS),
}


@pytest.mark.parametrize("text", GOOD)
def test_what_is_understood(text):
    assert parse(text) == GOOD[text]


NO_DESCRIPTION = ("no description of an input", "'int64[1,50]<98631'")
BAD = {
    "": NO_DESCRIPTION,
    "float32": NO_DESCRIPTION,
    "[1,2]": NO_DESCRIPTION,
    "float32[1": NO_DESCRIPTION,
    "float32(1,2)": NO_DESCRIPTION,
    "float32[1][2]": NO_DESCRIPTION,
    "float32[-1]": NO_DESCRIPTION,
    "float32[1.5]": NO_DESCRIPTION,
    "float32[batch,3]": NO_DESCRIPTION,
    "float32[٣]": NO_DESCRIPTION,
    "1x=float32[1]": NO_DESCRIPTION,
    "a.b=float32[1]": NO_DESCRIPTION,
    "a==float32[1]": NO_DESCRIPTION,
    "int64[1]<": NO_DESCRIPTION,
    "int64[1]<-5": NO_DESCRIPTION,
    "int64[1]>5": NO_DESCRIPTION,
    "int64[1]<5 int64[1]": NO_DESCRIPTION,
    "torch.int64[1]": NO_DESCRIPTION,
    "float[1]\0": NO_DESCRIPTION,
    "flot32[1]": ("'flot32'", "is no dtype", "float32"),
    "int128[1]": ("'int128'", "is no dtype", "int64"),
    "__class__[1]": ("'__class__'", "is no dtype"),
    "float32[1,,2]": ("a size is missing", "'float32[1,,2]'"),
    "float32[,]": ("a size is missing",),
    "float32[1,]": ("a size is missing",),
    "float32[0]": ("0 elements",),
    "float32[3,0,5]": ("0 elements",),
    "float32[1 2]": ("'float32[1 2]'",),
    f"float32[{MOST_ELEMENTS + 1}]": (f"{MOST_ELEMENTS + 1:,} elements", f"{MOST_ELEMENTS:,}"),
    "float32[100000,100000]": ("10,000,000,000 elements",),
    "float32[99999999999]": ("larger than an input can be",),
    f"bool[{','.join('1' * (MOST_DIMENSIONS + 1))}]": ("larger than an input can be",),
    f"bool[{'9' * 5000}]": ("larger than an input can be",),
    "float32[2]<5": ("'<'", "for integers", "float32"),
    "bool[2]<1": ("'<'", "for integers", "bool"),
    "int64[1]<0": ("the bound", "from 1 to 2^63 - 1"),
    f"int64[1]<{1 << 63}": ("the bound", "from 1 to 2^63 - 1"),
    f"int64[1]<{'9' * 5000}": ("the bound", "from 1 to 2^63 - 1"),
    "int8[1]<200": ("the bound", "int8"),
    "uint8[1]<257": ("the bound", "uint8"),
    "int32[1]<99999999999": ("the bound", "int32"),
}


@pytest.mark.parametrize("text", BAD, ids=lambda text: repr(text[:40]))
def test_what_is_refused_says_why(text):
    with pytest.raises(SettingsError) as refused:
        parse(text)
    said = f"{refused.value.message} {refused.value.hint or ''}"
    for part in BAD[text]:
        assert part in said
    assert len(said) < 500


def test_no_name_comes_twice():
    assert [spec.name for spec in parse_all(["float[1]", "a=float[1]", "float[1]", "b=float[1]"])] == [None, "a", None, "b"]
    with pytest.raises(SettingsError, match="'a' is given twice"):
        parse_all(["a=float[1]", "b=float[1]", "a=long[2]"])


@given(
    st.one_of(
        st.text(),
        st.text(alphabet="aeflnot=123460[],<> _"),
        st.from_regex(r"\A(\w+=)?\w+\[[\d,\s]*\](<\d+)?\Z"),
        st.builds(
            "{}{}[{}]{}".format,
            st.sampled_from(["", "x=", "=", "é="]),
            st.sampled_from([*DTYPES, *SHORT, "string"]),
            st.lists(st.integers(-1, 300).map(str), max_size=4).map(",".join),
            st.sampled_from(["", "<1", "<0", "<70000", "<", f"<{1 << 64}"]),
        ),
    )
)
@example("int64[1]<²")
@example("float32[1 2]")
@example("int64[\udc80]")
def test_any_text_is_understood_or_refused(text):
    try:
        spec = parse(text)
    except SettingsError:
        return
    assert spec.dtype in (*DTYPES, PLAIN)
    assert 1 <= math.prod(spec.shape) <= MOST_ELEMENTS
    assert spec.below is None or (spec.dtype in INTEGERS and spec.below > 0)
    assert parse(str(spec)) == spec


@given(
    st.builds(
        InputSpec,
        st.none() | st.from_regex(r"\A[A-Za-z_][A-Za-z_0-9]*\Z"),
        st.sampled_from([dtype for dtype in DTYPES if dtype not in INTEGERS]),
        st.lists(st.integers(1, 30), max_size=5).map(tuple),
        st.none(),
        st.none(),
    )
)
def test_every_description_can_be_written_and_read(spec):
    assert parse(str(spec)) == spec


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("16000", None, 16_000),
        ("sr=16000", "sr", 16_000),
        ("-3", None, -3),
        ("0.5", None, 0.5),
        ("1.5e-3", None, 0.0015),
        ("return_dict=False", "return_dict", False),
        ("true", None, True),
        ("mask=none", "mask", None),
    ],
)
def test_a_plain_value_is_handed_over_as_it_is(text, name, value):
    spec = parse(text)
    assert (spec.name, spec.dtype, spec.value) == (name, PLAIN, value)
    assert type(spec.value) is type(value)
    assert parse(str(spec)) == spec
