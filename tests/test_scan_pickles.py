"""Pickles that would run something: each is told, with its name, its call and its byte. None is ever loaded."""

from __future__ import annotations

import io
import pickle
import re
import struct
import sys
import zlib

import pytest

from modelscope_cli.analysis.policy import grave
from modelscope_cli.core.limits import DEFAULT_LIMITS
from tests.builders.attacks import ATTACKS, CANARY, COMMAND, LET_THROUGH, SYSTEM, four, short, stacked
from tests.builders.pickle_code import (
    BUILD,
    MARK,
    REDUCE,
    STOP,
    TUPLE,
    TUPLE1,
    Code,
    built,
    call,
    instance,
    name,
    persistent,
    pickled,
    proto,
    value,
)
from tests.builders.samples import SAMPLES
from tests.builders.tar_file import TarEntry, tar_bytes
from tests.builders.torch_code import ordered, tensor
from tests.builders.torch_file import legacy_bytes, torch_entries, torch_zip_bytes
from tests.builders.zip_archive import Entry, zip_bytes
from tests.scanned import codes, paths, scanned


@pytest.fixture(autouse=True)
def nothing_ran(tmp_path, monkeypatch):
    """Payloads would create a file in the working folder."""
    monkeypatch.chdir(tmp_path)
    yield
    assert not (tmp_path / CANARY).exists()
    assert not list(tmp_path.iterdir())


FILE_NAMES = (
    "model.pkl", "model.safetensors", "model.gguf", "model.h5", "model.keras", "model.npy", "model.tar", "model.onnx", "notes.txt", "notes.md",
    "config.json", "chat_template.jinja", "template.j2", "modeling.py", "hubconf.py", "a.toml", "a.yaml", "a.distcp", ".metadata", "model",
)  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("file", FILE_NAMES)
def test_an_attack_is_told_whatever_the_file_is_called(attack, file):
    data, named, _ = ATTACKS[attack]
    safety = scanned(data, file)
    assert named in paths(safety)
    assert safety.verdict == ("suspicious" if attack == "extension code" else "dangerous"), safety.why
    assert not [one for one in safety.unseen if not one.minor]


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("place", ["archive/data.pkl", "archive/hidden.bin", "archive/.data/x", "other/deep/data.pkl"])
def test_an_attack_is_told_in_every_member_of_an_archive(attack, place):
    data, named, _ = ATTACKS[attack]
    entries = [entry for entry in torch_entries(ordered({"w": tensor()}), {"0": 24}) if entry.name != place]
    safety = scanned(zip_bytes([*entries, type(entries[0])(place, data)]))
    assert named in paths(safety)
    assert any(f"{item.where}/".startswith(f"{place}/") for item in safety.imports if item.path == named)
    assert safety.verdict in ("suspicious", "dangerous")


@pytest.mark.parametrize(("module", "attribute", "source"), LET_THROUGH, ids=[f"{row[0]}.{row[1]}" for row in LET_THROUGH])
def test_what_other_scanners_let_through(module, attribute, source):
    safety = scanned(four(stacked(module, attribute) + short(COMMAND) + TUPLE1 + REDUCE), "model.pkl")
    assert safety.verdict == "dangerous", (source, safety.why)
    assert f"{module}.{attribute}({COMMAND!r})" in str(safety.why)


def test_a_call_is_told_with_its_byte_and_arguments():
    data = proto() + SYSTEM + STOP
    (found,) = scanned(data, "model.pkl").found
    assert (found.level, found.opcode, found.subject) == ("dangerous", "REDUCE", "posix.system")
    assert data[found.offset : found.offset + 1] == REDUCE
    assert f"posix.system({COMMAND!r})" in str(found.message)
    (item,) = scanned(data, "model.pkl").imports
    assert data[item.offset : item.offset + 1] == b"c"


@pytest.mark.parametrize("file", [file for file in SAMPLES if file != "package.pt"])
def test_the_samples_are_at_worst_unknown(file):
    safety = scanned(SAMPLES[file], file)
    assert safety.verdict in ("safe", "unknown"), [found for found in safety.found if found.level != "safe"]
    assert safety.problem is None
    assert not [one for one in safety.unseen if not one.minor]


def test_a_graph_module_in_a_package_brings_source_that_loading_runs():
    safety = scanned(SAMPLES["package.pt"], "package.pt")
    assert safety.verdict == "suspicious"
    assert safety.found[0].subject == "torch.fx.graph_module.reduce_package_graph_module"
    assert {item.judgement.level for item in safety.imports if item.module == "shop"} == {"unknown"}
    assert "packaged-code" in codes(safety)


@pytest.mark.parametrize("tag", ["reduce_package", b"reduce_package"])
@pytest.mark.parametrize("number", [(), (7,)])
def test_what_persistent_ids_of_a_package_call(tag, number):
    """torch.package calls the function with its importer first, whether or not there is a number; by that __init__ runs."""

    def called(function, *args):
        return persistent((tag, *number, name(function), args))

    for root, verdict in (
        (called("torch.nn.modules.activation.ReLU"), "suspicious"), (called("posix.system", "true"), "dangerous"),
        (called("torch.jit._script.unpackage_script_module", "0"), "suspicious"), (called("builtins.list"), "dangerous"),
    ):  # fmt: skip
        safety = scanned(zip_bytes([Entry("m/o.pkl", pickled(root, 3))]))
        assert (grave(safety.verdict) >= grave(verdict), [item.calls for item in safety.imports]) == (True, [1]), root


def test_of_ids_with_one_number_the_first_is_the_object():
    def numbered(function, *args):
        return persistent(("reduce_package", 7, name(function), args))

    first = numbered("torch.nn.modules.linear.Identity")
    second = pickled([first, Code(name("builtins.dict") + numbered("collections.OrderedDict") + b"\x85R")], 3)
    assert "forged-pickle" in codes(scanned(zip_bytes([Entry("m/o.pkl", second)])))


@pytest.mark.parametrize("file", ["state_dict.pt", "legacy.pth", "plain.safetensors", "sparse.bin", "training.ckpt", "old.tar"])
def test_state_dicts_are_safe(file):
    assert scanned(SAMPLES[file], file).verdict == "safe"


def test_names_nobody_has_judged_are_unknown_and_named():
    safety = scanned(pickled([instance("shop.Model", {"a": 1}), instance("shop.parts.Wheel")]), "model.pkl")
    assert safety.verdict == "unknown"
    assert str(safety.why) == "imports and calls shop.Model, shop.parts.Wheel"


def test_all_instructions_that_call_are_recorded():
    code = [
        call("a.reduce", 1),
        Code(b"(K\x02ia\ninst\n"),
        Code(MARK + name("a.obj") + value(3) + b"o"),
        instance("a.newobj", None, 4),
        Code(name("a.newobj_ex") + value((5,)) + value({}) + b"\x92"),
        built(name("a.built"), {"x": 1}),
    ]
    safety = scanned(pickled(code), "model.pkl")
    assert [(one.opcode, one.text) for one in safety.calls] == [
        ("REDUCE", "a.reduce(1)"), ("INST", "a.inst(2)"), ("OBJ", "a.obj(3)"), ("NEWOBJ", "a.newobj(4)"),
        ("NEWOBJ_EX", "a.newobj_ex(5)"), ("BUILD", "a.built({'x': 1})"),
    ]  # fmt: skip
    assert "patch" in codes(safety)


def test_a_state_given_to_an_object_is_no_patch():
    assert "patch" not in codes(scanned(pickled(built(call("a.b"), {"x": 1})), "model.pkl"))


def test_getattr_is_judged_by_what_it_reaches():
    honest = scanned(pickled(call("builtins.getattr", name("shop.Colour"), "RED")), "model.pkl")
    assert honest.verdict == "unknown"
    hostile = scanned(pickled(call("builtins.getattr", name("shop.Colour"), "__globals__")), "model.pkl")
    assert hostile.verdict == "dangerous"
    twice = call("builtins.getattr", call("builtins.getattr", name("torch.serialization"), "os"), "system")
    assert scanned(pickled(twice), "model.pkl").verdict == "dangerous"
    computed = call("builtins.getattr", call("shop.find"), "system")
    assert scanned(pickled(computed), "model.pkl").verdict == "dangerous"


def test_a_wrapped_function_is_judged_by_itself():
    assert scanned(pickled(call("functools.partial", name("shop.loss"))), "model.pkl").verdict == "unknown"
    assert scanned(pickled(call("functools.partial", name("os.system"), "x")), "model.pkl").verdict == "dangerous"
    assert scanned(pickled(call("functools.partial", call("shop.find"))), "model.pkl").verdict == "suspicious"


def test_many_harmless_calls_do_not_hide_one():
    reaching = name("builtins.getattr") + b"q\x00" + b"0"
    many = b"".join(b"h\x00" + value((name("shop.A"), f"x{number}")) + REDUCE + b"0" for number in range(200))
    last = b"h\x00" + value((name("shop.A"), "__globals__")) + REDUCE
    assert scanned(proto() + reaching + many + last + STOP, "model.pkl").verdict == "dangerous"


def test_the_five_pickles_of_a_stacked_file_are_all_judged():
    good = legacy_bytes(ordered({"w": tensor("a", view=None)}), {"a": (6, 24)})
    assert scanned(good).verdict == "safe"
    magic = pickled(0x1950A86A20F9469CFC6C)
    computed = proto() + call("builtins.eval", "0x1950a86a20f9469cfc6c") + STOP
    assert scanned(computed + good[len(magic) :]).verdict == "dangerous"
    assert scanned(magic + pickled(1001) + proto() + SYSTEM + STOP + good[len(magic) :]).verdict == "dangerous"


def test_a_broken_pickle_is_never_safe():
    data = pickled(ordered({"w": 1}))
    for cut in range(2, len(data) - 1):
        safety = scanned(data[:cut], "model.pkl")
        assert safety.verdict != "safe", cut


def test_strictness_does_not_hide_what_follows():
    """Where our reader refuses, other unpicklers may go on: a list as key, a number of many digits, an item for nothing."""
    for first in (
        Code(b"}]K\x01s0"), Code(b"I" + b"1" * 5_000 + b"\n0"), Code(b"}K\x01a0"), Code(b"F1x\n0"), Code(b"\x8b\x00\x10\x00\x00" + bytes(4096) + b"0"),
    ):  # fmt: skip
        safety = scanned(proto() + first + SYSTEM + STOP, "model.pkl")
        assert "posix.system" in paths(safety), first[:10]


def test_what_weights_only_says():
    assert scanned(SAMPLES["state_dict.pt"]).weights_only == "would allow every name in it"
    entries = torch_entries({"w": tensor(), "x": instance("shop.Model")}, {"0": 24})
    refused = scanned(zip_bytes(entries))
    assert re.fullmatch(r"refuses shop\.Model at byte \d+ of archive/data\.pkl", refused.weights_only)
    assert scanned(four(short("x")), "model.pkl").weights_only == "refuses the instruction SHORT_BINUNICODE at byte 2"
    assert scanned(pickled({}), "model.pkl").weights_only == "refuses a pickle that torch.save did not write (invalid magic number)"
    assert scanned(SAMPLES["plain.safetensors"], "a.safetensors").weights_only is None


def joblib_file(payload: bytes = b"") -> bytes:
    """An array wrapper as joblib writes it, the bytes of the array, and more pickle behind it."""
    dtype = built(Code(name("numpy.dtype") + value(("f8", False, True)) + REDUCE), (3, "<", None, None, None, -1, -1, 0))
    state = {"subclass": name("numpy.ndarray"), "shape": (3,), "order": "C", "dtype": dtype, "allow_mmap": True,
             "numpy_array_alignment_bytes": 16}  # fmt: skip
    wrapper = Code(name("joblib.numpy_pickle.NumpyArrayWrapper") + b")" + b"\x81" + value(state) + BUILD)
    raw = b"\x03" + b"\xff" * 3 + struct.pack("<3d", 1, 2, 3)
    return proto(4) + MARK + wrapper + raw + value({"b": 1}) + payload + TUPLE + STOP


def test_joblib_is_followed_over_its_arrays():
    safety = scanned(joblib_file(), "model.joblib")
    assert (safety.verdict, safety.scanned.streams[0].trace.problem) == ("safe", None)
    hidden = scanned(joblib_file(SYSTEM), "model.joblib")
    assert hidden.verdict == "dangerous"


def test_joblib_compressed():
    assert scanned(zlib.compress(joblib_file(SYSTEM)), "model.joblib").verdict == "dangerous"
    assert scanned(zlib.compress(joblib_file()), "model.joblib").verdict == "safe"


def test_too_many_names_are_suspicious():
    many = b"".join(b"cm\nn%x\n0" % number for number in range(10_100))
    safety = scanned(proto() + many + value(1) + STOP, "model.pkl")
    assert (safety.verdict, "too-many-names" in codes(safety)) == ("suspicious", True)


def test_a_limit_is_said_and_not_safe():
    safety = scanned(SAMPLES["state_dict.pt"], limits=DEFAULT_LIMITS._replace(pickle_bytes=100))
    assert safety.verdict == "unknown"
    assert safety.problem is not None


def test_an_honest_pickle_of_python_is_safe():
    things = {"a": [1, 2.5, None, b"x"], "b": {1, 2}, "c": complex(1, 2), "d": bytearray(b"abc"), "e": range(3)}
    for protocol in range(6):
        assert scanned(pickle.dumps(things, protocol), "things.pkl").verdict == "safe", protocol


@pytest.mark.parametrize("blanks", [b"\n", b" \t\r\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n"])
def test_a_pickle_behind_blanks_or_a_mark(blanks):
    """Programs that keep pickles of protocol 0 as text strip it first."""
    data = ATTACKS["text protocol"][0]
    safety = scanned(blanks + data, "model.txt")
    assert safety.verdict == "dangerous"
    assert safety.imports[0].offset == len(blanks)


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_that_is_a_tar_as_well(attack):
    """The name of the first member of a tar is the beginning of the file."""
    data, named, _ = ATTACKS[attack]
    if len(data) > 100 or b"\0" in data:
        pytest.skip("no name of a member")
    header = bytearray(tar_bytes([TarEntry("x", b"text")]))
    header[:100] = data.ljust(100, b"\0")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header[:512])
    assert named in paths(scanned(bytes(header), "model.tar"))


def test_text_is_no_pickle():
    assert not scanned(b"config\nvalue\nmore\n", "README").scanned.streams
    for text in ("import os\nprint(1)\n", "(see below)\n", "I was here\n", "]\n", "hello world. " * 9):
        safety = scanned(text.encode(), "README")
        assert safety.verdict is None, text
        assert not safety.scanned.streams


@pytest.mark.parametrize("announced", [b"", b"\x80\x02", b"\x80\x04\x95" + (999).to_bytes(8, "little")])
def test_a_last_line_without_its_end_runs_in_python(announced):
    """Python's own unpickler, joblib's, takes what is left for a line, and cuts off its last letter; the one in C refuses it."""
    data = announced + b"(S'true'\niposix\nsystemX"
    for file in ("model.joblib", "model.pkl"):
        safety = scanned(data, file)
        assert (safety.verdict, paths(safety)) == ("dangerous", {"posix.system"}), file
    inside = zip_bytes([*torch_entries(ordered({"w": tensor()}), {"0": 24}), Entry("archive/scaler.joblib", data)])
    assert scanned(inside).verdict == "dangerous"
    called = []
    unpickler = pickle._Unpickler(io.BytesIO(data))
    unpickler.find_class = lambda module, name: called.append((module, name)) or print
    with pytest.raises((EOFError, pickle.UnpicklingError)):
        unpickler.load()
    assert called in ([("posix", "system")], [])  # none where a frame ends with the line


@pytest.mark.parametrize("end", [b"cshop\nNet_", b"cshop\nNetX", b"cshop\n", b"cshopX", b"(ishop\nX", b"(ishopX"])
def test_an_import_at_the_end_of_the_data_runs_in_python(end):
    """It takes what is left for a line there as well, and imports the module before it misses the rest."""
    for data, file in ((end, "model.joblib"), (proto() + end, "notes"), (pickled([])[:-1] + b"0" + end, "model.pkl")):
        safety = scanned(zip_bytes([*torch_entries(ordered({"w": tensor()}), {"0": 24}), Entry(file, data)]))
        assert (safety.verdict, {item.module for item in safety.imports} & {"shop"}) == ("unknown", {"shop"}), file
    called = []
    unpickler = pickle._Unpickler(io.BytesIO(end))
    unpickler.find_class = lambda module, name: called.append(module) or print
    with pytest.raises((EOFError, pickle.UnpicklingError)):
        unpickler.load()
    assert called == ["shop"]


def test_two_lines_of_text_are_no_import():
    for text in (b"cat\ndog", b"cat\n", b"car", b"class Foo\nclass Bar"):
        for file in ("labels.txt", "labels"):
            safety = scanned(zip_bytes([*torch_entries(ordered({"w": tensor()}), {"0": 24}), Entry(file, text)]))
            assert (safety.verdict, safety.problem) == ("safe", None)


def test_numbers_that_read_as_codes_of_extensions_are_no_pickle():
    noise = [b"\x82\x44\x80\x65", b"\x83\xa4\x59R\xff", b"\x84\x82\x80\x2e\x90\x80\xed", b"\x82\x0cb\xfe"]
    chunks = [Entry(f"c/{number}.0", each + b"\xfe" * 9) for number, each in enumerate(noise)]
    model = torch_entries(ordered({"w": tensor()}), {"0": 24})
    safety = scanned(zip_bytes([*model, *chunks]))
    assert safety.verdict == "safe", safety.why
    called = Entry("c/0.0", b"\x82\x0c)R.")
    assert scanned(zip_bytes([*model, called])).verdict == "suspicious"
    assert scanned(b"\x80\x02" + noise[0], "model.pkl").verdict == "suspicious"
    assert scanned(zip_bytes([*model, Entry("c/0.0", b"]]\x80")])).verdict == "safe"  # cut off within its number


@pytest.mark.skipif(sys.platform == "win32", reason="posix.system is nt.system there")
def test_a_pickle_made_by_python_itself():
    class Evil:
        def __reduce__(self):
            import os

            return os.system, (COMMAND,)

    for protocol in range(6):
        assert scanned(pickle.dumps(Evil(), protocol), "evil.bin").verdict == "dangerous"
    assert scanned(torch_zip_bytes(Code(pickle.dumps(Evil(), 2)[2:-1]))).verdict == "dangerous"


def test_a_letter_that_looks_like_another_is_shown_as_its_number():
    safety = scanned(proto() + call("torch._utils._r\u0435build_tensor_v2", None) + STOP)
    assert safety.verdict == "suspicious"
    said = " ".join(str(found.message) for found in safety.found) + str(safety.why)
    assert "_r\\u0435build_tensor_v2" in said
    assert "\u0435" not in said
