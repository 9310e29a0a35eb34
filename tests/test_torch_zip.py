"""torch's zip format: containers and byte orders. What the pickle says is in test_torch_objects."""

from __future__ import annotations

import pytest

import modelscope_cli
from modelscope_cli.core.dtype import STORAGE_CLASSES
from modelscope_cli.core.limits import DEFAULT_LIMITS
from modelscope_cli.errors import CorruptFileError, FormatError, LimitError, UnknownFormatError
from tests.builders.export_file import export_entries
from tests.builders.pickle_code import call, pickled
from tests.builders.torch_code import ordered, storage, tensor
from tests.builders.torch_file import torch_entries, torch_zip_bytes
from tests.builders.zip_archive import Entry, zip_bytes
from tests.opened import codes, facts, opened

ONE = {"w": tensor("0", (2, 3))}


@pytest.mark.parametrize(
    "options",
    [{}, {"crc": 0}, {"zip64": True}, {"deflate": True}, {"stem": "model"}, {"stem": ""}, {"stem": "a/b"}, {"byteorder": None}],
    ids=str,
)
def test_containers(options):
    checkpoint = opened(torch_zip_bytes(ONE, {"0": 24}, **options))
    assert facts(checkpoint) == {"w": ((2, 3), "float32", "0", 0, None)}
    assert checkpoint.format == "torch-zip"
    assert checkpoint.notes == []


@pytest.mark.parametrize("suffix", [".pt", ".bin", ".pth.tar", ".safetensors", ".zip", ".model", ".ckpt", "", ".json"])
def test_content_decides_not_the_suffix(tmp_path, suffix):
    path = tmp_path / f"model{suffix}"
    path.write_bytes(torch_zip_bytes(ONE, {"0": 24}))
    assert modelscope_cli.read(str(path)).format == "torch-zip"


def test_byte_ranges_lead_to_the_data():
    data = torch_zip_bytes({"a": tensor("0", (2,)), "b": tensor("1", (3,), "HalfStorage")}, {"0": b"12345678", "1": b"abcdef"})
    first, second = opened(data).tensors
    assert data[first.start : first.stop] == b"12345678"
    assert data[second.start : second.stop] == b"abcdef"
    assert first.start % 64 == second.start % 64 == 0


def test_sections_add_up():
    checkpoint = opened(torch_zip_bytes(ONE, {"0": 24, "unused": 100}))
    assert checkpoint.sections()["data"] == 124
    assert sum(checkpoint.sections().values()) == checkpoint.nbytes


def test_big_endian_is_noted():
    assert codes(opened(torch_zip_bytes(ONE, {"0": 24}, byteorder=b"big"))) == {"big-endian": "info"}


def test_other_byte_orders_are_refused():
    with pytest.raises(CorruptFileError):
        opened(torch_zip_bytes(ONE, {"0": 24}, byteorder=b"middle"))


@pytest.mark.parametrize("cls", STORAGE_CLASSES)
def test_every_storage_class(cls):
    dtype = STORAGE_CLASSES[cls]
    nbytes = 16 * dtype.bits // 8
    (found,) = opened(torch_zip_bytes({"w": tensor("0", (16,), cls)}, {"0": nbytes})).tensors
    assert found.dtype is dtype
    assert found.stop - found.start == nbytes


@pytest.mark.parametrize("module", ["torch", "torch.cuda", "torch.storage", "torch.sparse", "elsewhere"])
def test_storages_of_any_module(module):
    held = storage("0", 6, "HalfStorage", module=module)
    root = {"w": call("torch._utils._rebuild_tensor_v2", held, 0, (6,), (1,), False, {})}
    assert facts(opened(torch_zip_bytes(root, {"0": 12})))["w"][1] == "float16"


def test_storages_of_an_unknown_type_keep_their_name():
    held = storage("0", 6, "PositStorage")
    root = {"w": call("torch._utils._rebuild_tensor_v2", held, 0, (6,), (1,), False, {})}
    assert facts(opened(torch_zip_bytes(root, {"0": 12})))["w"][1] == "posit"


def test_keys_may_be_numbers():
    root = {"w": tensor(7, (2,))}
    assert facts(opened(torch_zip_bytes(root, {"7": 8})))["w"][2] == "7"


def test_state_dict_records_its_modules():
    checkpoint = opened(torch_zip_bytes(ordered({"fc.weight": tensor("0", (2, 3))}, ["", "fc", "drop"]), {"0": 24}))
    assert list(checkpoint.modules) == ["", "fc", "drop"]


def test_torchscript():
    code = {
        "code/__torch__/M.py": b"def forward(self): pass",
        "constants.pkl": pickled((tensor("0", (2,)),)),
        "constants/0": b"8 bytes!",
    }
    checkpoint = opened(torch_zip_bytes({"w": tensor("0", (3,))}, {"0": 12}, records=code))
    assert checkpoint.format == "torchscript"
    assert facts(checkpoint).keys() == {"w", "constants.c0"}
    assert checkpoint.sections()["code"] == len(code["code/__torch__/M.py"]) + len(code["constants.pkl"])


BROKEN = {
    "storage is not there": torch_zip_bytes(ONE, {}),
    "storage is too small": torch_zip_bytes(ONE, {"0": 23}),
    "view leaves its storage": torch_zip_bytes({"w": tensor("0", (2, 3), numel=6, offset=1)}, {"0": 24}),
    "view leaves by its strides": torch_zip_bytes({"w": tensor("0", (2, 3), numel=6, strides=(4, 1))}, {"0": 24}),
    "negative extent": torch_zip_bytes({"w": tensor("0", (-1,), numel=6, strides=(1,))}, {"0": 24}),
    "negative stride": torch_zip_bytes({"w": tensor("0", (2,), numel=6, strides=(-1,))}, {"0": 24}),
    "negative offset": torch_zip_bytes({"w": tensor("0", (2,), numel=6, offset=-1)}, {"0": 24}),
    "strides of another rank": torch_zip_bytes({"w": tensor("0", (2,), numel=6, strides=(1, 1))}, {"0": 24}),
    "negative numel": torch_zip_bytes({"w": tensor("0", (2,), numel=-6)}, {"0": 24}),
    "two data.pkl": zip_bytes([*torch_entries(ONE, {"0": 24}), Entry("archive/data.pkl", pickled({}))]),
    "two storages of one name": zip_bytes([*torch_entries(ONE, {"0": 24}), Entry("archive/data/0", bytes(24))]),
    "empty pickle": zip_bytes([Entry("archive/data.pkl", b"")]),
    "cut pickle": zip_bytes([Entry("archive/data.pkl", pickled(ONE)[:-9]), Entry("archive/data/0", bytes(24))]),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_files_are_refused(what):
    with pytest.raises(CorruptFileError):
        opened(BROKEN[what])


def test_bytes_behind_the_pickle_are_noted():
    data = zip_bytes([Entry("archive/data.pkl", pickled(ONE) + b"more"), Entry("archive/data/0", bytes(24))])
    assert codes(opened(data)) == {"after-stop": "warning"}


def test_another_zip_is_named():
    """Every kind of them: tests/test_known.py."""
    with pytest.raises(UnknownFormatError, match=r"this is an archive, not a PyTorch checkpoint \(2 files, 2 \.txt\)"):
        opened(zip_bytes([Entry("x.txt", b"x"), Entry("y.txt", b"x")]))


def test_an_archive_of_two_kinds_is_noted_and_both_pickles_are_looked_at():
    entries = [*torch_entries({"w": call("os.system", "true")}, {}), *export_entries({}, {}, stem="archive")]
    checkpoint = opened(
        zip_bytes([entry for number, entry in enumerate(entries) if entry.name != "archive/byteorder" or number < 2])
    )
    assert checkpoint.format == "torch-export"
    assert codes(checkpoint) == {"several-kinds": "warning"}
    assert [use.name for trace in checkpoint.pickles for use in trace.globals] == ["system"]


def test_limits_are_named():
    data = torch_zip_bytes({str(n): tensor("0", (2, 3)) for n in range(3)}, {"0": 24})
    for resource, limit in (("tensors", 2), ("pickle_bytes", 100), ("members", 3)):
        with pytest.raises(LimitError) as caught:
            opened(data, limits=DEFAULT_LIMITS._replace(**{resource: limit}))
        assert caught.value.resource == resource


def test_errors_tell_what_would_have_been_imported():
    with pytest.raises(FormatError) as caught:
        opened(zip_bytes([Entry("a/data.pkl", pickled({"w": call("os.system", "true")})[:-4])]))
    assert "os.system" in (caught.value.hint or "")
