"""What the rebuild functions of torch's pickles mean, one by one, without calling them."""

from __future__ import annotations

import pytest

from modelscope_cli.core.dtype import DTYPES
from modelscope_cli.core.limits import DEFAULT_LIMITS
from modelscope_cli.errors import CorruptFileError
from tests.builders.pickle_code import LIST, Code, built, call, instance, laughs, name, remembered, value
from tests.builders.torch_code import EMPTY_HOOKS, module, ordered, parameter, storage, tensor
from tests.builders.torch_file import torch_zip_bytes
from tests.opened import codes, facts, opened

SIZES = {"0": 96, "1": 96, "2": 96}


def read(root):
    return opened(torch_zip_bytes(root, SIZES))


def only(thing):
    """The single tensor that `thing` makes, and the storages it reaches."""
    checkpoint = read({"w": thing})
    (found,) = checkpoint.tensors
    keys = checkpoint.tensors.storage.keys
    return found, [keys[view.storage] for view in checkpoint.tensors.views(0) if view.storage >= 0]


def test_rebuild_tensor():
    found, _ = only(call("torch._utils._rebuild_tensor", storage("0", 24), 2, (2, 3), (3, 1)))
    assert (found.shape, found.offset, found.strides) == ((2, 3), 8, None)


def test_rebuild_tensor_v2_with_strides():
    found, _ = only(tensor("0", (3, 2), numel=24, offset=1, strides=(1, 4)))
    assert (found.shape, found.offset, found.strides) == ((3, 2), 4, (1, 4))


@pytest.mark.parametrize("shape", [(2, 3), [2, 3], call("torch.Size", (2, 3)), call("torch.Size", [2, 3])], ids=type)
def test_sizes_of_any_kind(shape):
    found, _ = only(call("torch._utils._rebuild_tensor_v2", storage("0", 24), 0, shape, (3, 1), False, EMPTY_HOOKS))
    assert found.shape == (2, 3)


def test_strides_of_single_extents_do_not_matter():
    found, _ = only(tensor("0", (1, 4), numel=24, strides=(99, 1)))
    assert found.strides is None


def test_expanded_tensor():
    found, _ = only(tensor("0", (1000, 1000), numel=1, strides=(0, 0)))
    assert found.numel == 1_000_000
    assert found.strides == (0, 0)


def test_empty_tensor_may_lie_anywhere():
    found, _ = only(tensor("0", (0, 5), numel=0, offset=3))
    assert found.numel == 0


@pytest.mark.parametrize("dtype", [dtype for dtype in DTYPES if DTYPES[dtype].bits >= 8])
def test_rebuild_tensor_v3_of_every_dtype(dtype):
    held = storage("0", 96, "UntypedStorage", module="torch.storage")
    found, _ = only(call("torch._utils._rebuild_tensor_v3", held, 1, (2,), (1,), False, EMPTY_HOOKS, name(f"torch.{dtype}")))
    assert found.dtype is DTYPES[dtype]
    assert found.offset == DTYPES[dtype].bits // 8


def test_rebuild_tensor_v3_of_an_unknown_dtype():
    held = storage("0", 96, "UntypedStorage", module="torch.storage")
    found, _ = only(call("torch._utils._rebuild_tensor_v3", held, 0, (2,), (1,), False, EMPTY_HOOKS, name("torch.float3")))
    assert (found.dtype.name, found.dtype.bits) == ("float3", None)


@pytest.mark.parametrize("function", ["_rebuild_parameter", "_rebuild_parameter_with_state"])
def test_parameters(function):
    found, _ = only(call(f"torch._utils.{function}", tensor("0", (2, 3), numel=24), True, EMPTY_HOOKS, {"tag": 1}))
    assert (found.shape, found.role) == ((2, 3), "parameter")


def test_parameter_built_from_its_class():
    found, _ = only(call("torch.nn.parameter.Parameter", tensor("0", (2, 3), numel=24), True))
    assert found.role == "parameter"


def test_quantised_per_channel():
    scales, zeros = tensor("1", (3,), "DoubleStorage"), tensor("2", (3,), "LongStorage")
    quantiser = (name("torch.per_channel_affine"), scales, zeros, 0)
    held = storage("0", 12, "QInt8Storage")
    found, storages = only(call("torch._utils._rebuild_qtensor", held, 0, (3, 4), (4, 1), quantiser, False, EMPTY_HOOKS))
    assert (found.shape, found.dtype.name) == ((3, 4), "qint8")
    assert storages == ["0", "1", "2"]


def test_quantised_per_tensor():
    held = storage("0", 12, "QUInt8Storage")
    quantiser = (name("torch.per_tensor_affine"), 0.5, 3)
    found, storages = only(call("torch._utils._rebuild_qtensor", held, 0, (3, 4), (4, 1), quantiser, False, EMPTY_HOOKS))
    assert (found.dtype.name, storages) == ("quint8", ["0"])


def test_sparse_coo():
    indices, values = tensor("0", (2, 3), "LongStorage"), tensor("1", (3,))
    parts = (indices, values, call("torch.Size", (9, 9)), True)
    found, storages = only(call("torch._utils._rebuild_sparse_tensor", name("torch.sparse_coo"), parts))
    assert (found.shape, found.dtype.name) == ((9, 9), "float32")
    assert sorted(storages) == ["0", "1"]


def test_sparse_csr():
    rows, columns, values = tensor("0", (4,), "LongStorage"), tensor("1", (5,), "LongStorage"), tensor("2", (5,), "HalfStorage")
    parts = (rows, columns, values, (3, 7))
    found, storages = only(call("torch._utils._rebuild_sparse_tensor", name("torch.sparse_csr"), parts))
    assert (found.shape, found.dtype.name) == ((3, 7), "float16")
    assert sorted(storages) == ["0", "1", "2"]


def test_nested():
    buffer, sizes, offsets = tensor("0", (24,)), tensor("1", (2, 2), "LongStorage"), tensor("2", (2,), "LongStorage")
    _, storages = only(call("torch._utils._rebuild_nested_tensor", buffer, sizes, sizes, offsets))
    assert set(storages) == {"0", "1", "2"}


def test_meta():
    found, storages = only(call("torch._utils._rebuild_meta_tensor_no_storage", name("torch.bfloat16"), (4, 4), (4, 1), False))
    assert (found.shape, found.dtype.name, found.file, found.start, storages) == ((4, 4), "bfloat16", None, None, [])


def test_wrapper_subclass_with_its_data_in_the_state():
    arguments = (
        name("a.Sub"),
        name("torch.float32"),
        (2, 3),
        (3, 1),
        0,
        name("torch.strided"),
        call("torch.device", "cpu"),
        False,
    )
    state = {"inner": tensor("0", (2, 3)), "scale": tensor("1", (1,))}
    wrapper = name("torch._utils._rebuild_wrapper_subclass")
    found, storages = only(call("torch._tensor._rebuild_from_type_v2", wrapper, name("a.Sub"), arguments, state))
    assert (found.shape, sorted(storages)) == ((2, 3), ["0", "1"])


def test_wrapper_subclass_by_itself():
    arguments = (
        name("a.Sub"),
        name("torch.float32"),
        (2, 3),
        (3, 1),
        0,
        name("torch.strided"),
        call("torch.device", "cpu"),
        False,
    )
    found, _ = only(call("torch._utils._rebuild_wrapper_subclass", *arguments))
    assert found.shape == (2, 3)


@pytest.mark.parametrize("home", ["torch._tensor", "torch.tensor"])
def test_subclass_of_an_ordinary_tensor(home):
    arguments = (storage("0", 24), 0, (2, 3), (3, 1), False, EMPTY_HOOKS)
    function = name("torch._utils._rebuild_tensor_v2")
    for made in (
        call(f"{home}._rebuild_from_type", function, name("a.Sub"), arguments, {"note": 1}),
        call(f"{home}._rebuild_from_type_v2", function, name("a.Sub"), arguments, {"note": 1}),
        call(f"{home}._rebuild_from_type_v2", function, name("a.Sub"), arguments, ({"note": 1}, {"slot": 2})),
    ):
        found, storages = only(made)
        assert (found.shape, storages) == ((2, 3), ["0"])


def test_subclass_built_by_its_class():
    """A subclass with a reducer of its own: the data is in the state."""
    found, storages = only(
        call("torch._tensor._rebuild_from_type_v2", name("a.Sub"), name("a.Sub"), (), {"data": tensor("0", (2, 3))})
    )
    assert (found.shape, storages) == ((2, 3), ["0"])


def numpy_array(shape, code="f4", raw=b""):
    dtype = built(call("numpy.dtype", code, False, True), (3, "<", None, None, None, -1, -1, 0))
    return built(call("numpy.core.multiarray._reconstruct", name("numpy.ndarray"), (0,), b"b"), (1, shape, dtype, False, raw))


@pytest.mark.parametrize("function", ["_rebuild_device_tensor_from_numpy", "_rebuild_xla_tensor"])
def test_device_tensor_from_numpy(function):
    found, _ = only(call(f"torch._utils.{function}", numpy_array((2, 3), raw=bytes(24)), name("torch.float32"), "xla:0", False))
    assert (found.shape, found.dtype.name, found.file) == ((2, 3), "float32", None)


def test_device_tensor_from_cpu_tensor():
    function = "torch._utils._rebuild_device_tensor_from_cpu_tensor"
    found, storages = only(call(function, tensor("0", (2, 3)), name("torch.float32"), "hpu:0", False))
    assert (found.shape, storages) == ((2, 3), ["0"])


def test_fastai():
    found, _ = only(
        call("fastai.torch_core._fa_rebuild_tensor", name("a.Sub"), storage("0", 24), 0, (2, 3), (3, 1), False, EMPTY_HOOKS)
    )
    assert found.shape == (2, 3)
    held = storage("0", 12, "QInt8Storage")
    quantiser = (name("torch.per_tensor_affine"), 0.5, 3)
    function = "fastai.torch_core._fa_rebuild_qtensor"
    found, _ = only(call(function, name("a.Sub"), held, 0, (3, 4), (4, 1), quantiser, False, EMPTY_HOOKS))
    assert found.dtype.name == "qint8"


def test_tensor_of_torch_0_1():
    found, _ = only(instance("torch.FloatTensor", (storage("0", 24), 0, (2, 3), (3, 1))))
    assert found.shape == (2, 3)


def test_unknown_functions_are_searched_for_tensors():
    checkpoint = read({"w": call("torchao.make", tensor("0", (2,)))})
    assert [found.shape for found in checkpoint.tensors] == [(2,)]


BAD = {
    "too few arguments": call("torch._utils._rebuild_tensor_v2", storage("0", 24), 0),
    "no storage": call("torch._utils._rebuild_tensor_v2", None, 0, (2,), (1,), False, EMPTY_HOOKS),
    "size of words": call("torch._utils._rebuild_tensor_v2", storage("0", 24), 0, ("2",), (1,), False, EMPTY_HOOKS),
    "size of truths": call("torch._utils._rebuild_tensor_v2", storage("0", 24), 0, (True,), (1,), False, EMPTY_HOOKS),
    "size is a number": call("torch._utils._rebuild_tensor_v2", storage("0", 24), 0, 2, (1,), False, EMPTY_HOOKS),
    "dtype is a word": call("torch._utils._rebuild_tensor_v3", storage("0", 24), 0, (2,), (1,), False, {}, "float32"),
    "parameter of nothing": call("torch._utils._rebuild_parameter", None, True, {}),
    "sparse without values": call(
        "torch._utils._rebuild_sparse_tensor", name("torch.sparse_coo"), (tensor("0", (2, 3)), (9, 9))
    ),
    "sparse without size": call(
        "torch._utils._rebuild_sparse_tensor", name("torch.sparse_coo"), (tensor("0", (2,)), tensor("1", (2,)))
    ),
    "nested without buffer": call("torch._utils._rebuild_nested_tensor"),
}


@pytest.mark.parametrize("what", BAD)
def test_impossible_arguments_are_refused(what):
    with pytest.raises(CorruptFileError) as caught:
        read({"layer": {"w": BAD[what]}})
    assert "'layer.w'" in caught.value.message


def test_pickled_modules_record_classes_and_roles():
    linear = module("torch.nn.modules.linear.Linear", {"weight": parameter(tensor("0", (2, 3))), "bias": None}, in_features=3)
    norm = module(
        "torch.nn.modules.batchnorm.BatchNorm1d", {"weight": parameter(tensor("1", (2,)))}, {"running_mean": tensor("2", (2,))}
    )
    drop = module("torch.nn.modules.dropout.Dropout", p=0.5)
    checkpoint = read(module("shop.Model", fc=linear, norm=norm, drop=drop))
    assert {t.name: t.role for t in checkpoint.tensors} == {
        "fc.weight": "parameter",
        "norm.weight": "parameter",
        "norm.running_mean": "buffer",
    }
    assert {path: record.class_name for path, record in checkpoint.modules.items()} == {
        "": "shop.Model",
        "fc": "torch.nn.modules.linear.Linear",
        "norm": "torch.nn.modules.batchnorm.BatchNorm1d",
        "drop": "torch.nn.modules.dropout.Dropout",
    }
    assert checkpoint.modules["fc"].attributes["in_features"] == 3
    assert checkpoint.modules["drop"].attributes["p"] == 0.5


def test_shared_containers_are_listed_under_both_paths():
    shared = remembered(1, ordered({"weight": tensor("0", (2,))}))
    root = Code(value([("a", shared), ("b", Code(b"h\x01"))]))
    checkpoint = read({"models": root})
    assert list(facts(checkpoint)) == ["models.0.1.weight", "models.1.1.weight"]


def test_what_is_repeated_counts_as_tensors():
    """A hundred bytes can repeat a list of repeated lists without end."""
    data = torch_zip_bytes(laughs(10, 4, tensor("0", (2,)), closing=LIST), {"0": 8})
    checkpoint = opened(data, limits=DEFAULT_LIMITS._replace(tensors=50))
    assert len(checkpoint.tensors) <= 50
    assert codes(checkpoint)["not-repeated"] == "info"


def test_plain_values_become_metadata():
    root = {
        "epoch": 7,
        "rate": 0.5,
        "done": True,
        "none": None,
        "name": "run",
        "raw": b"abc",
        "betas": (0.9, 0.99),
        "args": instance("argparse.Namespace", {"seed": 1}),
        "device": call("torch.device", "cuda", 0),
        "path": call("pathlib.PosixPath", "/", "data", "x"),
        "size": call("torch.Size", (2, 3)),
        "scalar": call("numpy.core.multiarray.scalar", call("numpy.dtype", "f8", False, True), bytes(8)),
        "array": numpy_array((2, 3)),
        "w": tensor("0", (2,)),
    }
    metadata = read(root).metadata
    assert metadata["epoch"] == 7
    assert metadata["rate"] == 0.5
    assert metadata["done"] is True
    assert metadata["none"] is None
    assert metadata["name"] == "run"
    assert metadata["raw"] == "<3 bytes>"
    assert metadata["betas"] == [0.9, 0.99]
    assert metadata["args"] == {"seed": 1}
    assert metadata["device"] == "device(cuda, 0)"
    assert metadata["path"] == "/data/x"
    assert metadata["size"] == [2, 3]
    assert metadata["scalar"] == 0.0
    assert metadata["array"] == "<numpy array f4 2×3>"
    assert "w" not in metadata


@pytest.mark.parametrize(
    ("raw", "number"),
    [
        (bytes(4), 0.0),
        (call("_codecs.encode", "\0\0\x80?", "latin1"), 1.0),
        (call("_codecs.encode", "\0\0\x80\u0100", "latin1"), "<numpy number>"),
        (call("bytes", b"\0\0\x80?"), "<numpy number>"),
        ("text", "<numpy number>"),
        (bytes(8), "<numpy number>"),
        (7, "<numpy number>"),
    ],
    ids=str,
)
def test_a_number_of_numpy_is_made_of_as_many_bytes_as_its_type_has(raw, number):
    scalar = call("numpy.core.multiarray.scalar", call("numpy.dtype", "f4", False, True), raw)
    assert read({"scalar": scalar, "w": tensor("0", (2,))}).metadata["scalar"] == number


def test_lists_of_tensors_that_modules_hold_are_not_taken_for_one_another():
    """What is not listed elsewhere is put into a list of its own, whose place in memory no other may get."""
    shapes = {"a": (2, 3), "b": (4, 5), "c": (7, 1)}
    held = {name: module("shop.Anchors", {}, {}, anchors=[tensor(name, shape)]) for name, shape in shapes.items()}
    found = opened(torch_zip_bytes(module("shop.Net", {}, {}, **held), {"a": 24, "b": 80, "c": 28})).tensors
    assert dict(zip(found.names, found.shapes, strict=True)) == {f"{name}.anchors.0": shape for name, shape in shapes.items()}
