"""Any sequence of pickle instructions gives an object or a ModelscopeError, within the limits."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import pickle_code as code
from tests.builders.pickle_code import call, data, get, name, number, persistent, put, text
from tests.builders.torch_code import parameter, tensor
from tests.property.reading import check_analyses, read_bytes

BARE = [
    code.MARK,
    code.NONE,
    code.TRUE,
    code.EMPTY_DICT,
    code.EMPTY_LIST,
    code.EMPTY_TUPLE,
    code.EMPTY_SET,
    code.REDUCE,
    code.BUILD,
    code.NEWOBJ,
    code.NEWOBJ_EX,
    code.OBJ,
    code.STACK_GLOBAL,
    code.TUPLE,
    code.TUPLE1,
    code.TUPLE2,
    code.TUPLE3,
    code.LIST,
    code.DICT,
    code.FROZENSET,
    code.APPEND,
    code.APPENDS,
    code.SETITEM,
    code.SETITEMS,
    code.ADDITEMS,
    code.POP,
    code.POP_MARK,
    code.DUP,
    code.MEMOIZE,
    code.BINPERSID,
]
WHOLE = [
    get(0),
    get(1),
    put(0),
    put(1),
    number(7),
    number(1 << 40),
    text("weight"),
    text("_parameters"),
    data(b"raw"),
    b"I01\n",
    b"F1.5\n",
    b"V\\u00e9\n",
    b"S'x'\n",
    b"ios\nsystem\n",
    name("torch.FloatStorage"),
    name("collections.OrderedDict"),
    name("builtins.set"),
    name("torch._utils._rebuild_tensor_v2"),
    name("torch._utils._rebuild_sparse_tensor"),
    name("torch._tensor._rebuild_from_type_v2"),
    call("collections.OrderedDict"),
    call("torch.Size", (2, 3)),
    call("numpy.core.multiarray._reconstruct", 1, 2),
    persistent(("storage",)),
    parameter(call("torch._utils._rebuild_meta_tensor_no_storage", name("torch.float32"), (2, 3), (3, 1), False)),
    tensor(),
]

instructions = st.lists(st.sampled_from(BARE + WHOLE), max_size=40).map(b"".join)


@settings(max_examples=1_500, deadline=2_000, derandomize=True, database=None)
@given(instructions)
def test_instructions_in_any_order(program):
    checkpoint = read_bytes(code.proto() + code.EMPTY_DICT + program + code.STOP, "any.pkl")
    if checkpoint is not None:
        check_analyses(checkpoint)
