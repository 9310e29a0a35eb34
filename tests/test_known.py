"""Files that are no models of a kind that is read are named by their content, with what to do about them."""

from __future__ import annotations

import re

import pytest

from modelscope_cli.core.window import MemoryWindow
from modelscope_cli.errors import CorruptFileError, ModelscopeError, UnknownFormatError, UnsupportedFeatureError
from modelscope_cli.formats.known import BY_NAME, KINDS, recognise
from modelscope_cli.formats.known_kinds import MODELS
from tests.builders.foreign import FOREIGN, POINTER, npy, onnx, pickled_estimator, saved_model, sentencepiece
from tests.builders.pickle_code import pickled
from tests.builders.samples import SAMPLES
from tests.builders.zip_archive import Entry, zip_bytes
from tests.opened import opened

IDS = [f"{row[0]}-{row[2]}" for row in FOREIGN]
BESIDE = ("onnx-data", "tf-checkpoint-data", "tfjs-data", "openvino-data")  # known by another file, see test_known_beside


def refused(data: bytes, name: str = "model.bin") -> ModelscopeError:
    with pytest.raises(ModelscopeError) as caught:
        opened(data, name)
    return caught.value


def kind_of(data: bytes, name: str = "model.bin") -> str | None:
    found = recognise(MemoryWindow(data, name))
    return found.kind.name if found else None


@pytest.mark.parametrize(("kind", "data", "name", "said"), FOREIGN, ids=IDS)
def test_named(kind, data, name, said):
    problem = refused(data, name)
    row = BY_NAME[kind]
    assert problem.message.startswith(f"this is {row.title}")
    assert said in problem.message
    assert type(problem) is (UnsupportedFeatureError if row.group == MODELS else UnknownFormatError)
    assert problem.hint == (row.todo.replace("FILE", name) or "give the path of a weights file")
    assert problem.path == name


def test_every_row_has_an_example():
    assert {kind for kind, *_ in FOREIGN} | set(BESIDE) == {kind.name for kind in KINDS}
    assert len(BY_NAME) == len(KINDS)


@pytest.mark.parametrize("name", ["model.pt", "model.safetensors", "x"])
@pytest.mark.parametrize(
    ("kind", "data"), [row[:2] for row in FOREIGN if row[0] not in ("darknet", "ncnn-data", "mnn", "baseline")]
)
def test_the_name_of_the_file_does_not_matter(kind, data, name):
    assert BY_NAME[kind].title in refused(data, name).message


@pytest.mark.parametrize("kind", ["darknet", "ncnn-data", "mnn"])
def test_a_weak_mark_is_not_enough(kind):
    """What these begin with, other files begin with as well."""
    data = next(data for found, data, *_ in FOREIGN if found == kind)
    assert "known kind" in refused(data, "model.dat").message


@pytest.mark.parametrize("kind", sorted({row[0] for row in FOREIGN if BY_NAME[row[0]].magic}))
def test_a_magic_number_of_letters_is_no_word_of_a_text(kind):
    """RKNN, ptrt, PAR1 and so on may begin a sentence."""
    data = next(data for found, data, *_ in FOREIGN if found == kind)
    letters = re.match(rb"[A-Za-z0-9]{2,6}", data)
    if letters:
        found = kind_of(letters[0] + b" is a word, and here the sentence goes on.\n")
        assert found in ("text", "bzip2", "gif", "catboost", "arrow", "mp3") or kind in (
            "lightgbm",
            "ncnn",
            "lfs-pointer",
            "hub-error",
        )


def test_pointer_tells_the_size_of_the_model():
    problem = refused(POINTER)
    assert "12,345 bytes" in problem.message
    assert "git lfs pull" in problem.hint


@pytest.mark.parametrize("name", ["model.pt", "model.safetensors", "model.pkl"])
def test_empty_file(name):
    assert "empty" in refused(b"", name).message


def test_file_of_zeros():
    assert "zero" in refused(bytes(10_000)).message


def test_unknown_bytes_are_shown():
    assert "01 02 fe ff 00 99" in refused(b"\x01\x02\xfe\xff\x00\x99" * 9).message


def test_truncated_safetensors_is_not_called_foreign():
    assert "header" in refused(SAMPLES["plain.safetensors"][:100], "model.safetensors").message


def test_text_in_other_encodings_is_no_text():
    assert kind_of(b"caf\xe9 au lait\n" * 20) is None


@pytest.mark.parametrize(
    "data", [b"\x0b\x08\x0c", b"a\x1bb", b"a\x00b", b"\x7f\x7f", b"ab\x85".replace(b"\x85", "\x85".encode())]
)
def test_control_characters_are_no_text(data):
    assert kind_of(data) is None


def test_blank_text():
    assert recognise(MemoryWindow(b" \n\t\n", "a")).what == "a text file"


def test_character_cut_at_the_end_is_still_text():
    assert kind_of(("é" * 40_000).encode()[:65_535]) == "text"


# Where content is weak


def test_what_looks_like_safetensors_is_named_all_the_same():
    """Nine bytes, the last of them a brace."""
    data = b"\x08\x08\x12\x04abcd{" + onnx()[9:]
    assert type(refused(data)) is CorruptFileError
    held = onnx(producer=b"spox{")  # the brace stands at byte 8
    assert held[8:9] == b"{"
    assert "an ONNX model (made by spox{ 2.1.0" in refused(held, "model.onnx").message


def test_a_damaged_pickle_stays_a_damaged_pickle():
    problem = refused(pickled({"a": 1})[:-3], "model.pkl")
    assert type(problem) is CorruptFileError


def test_joblib_is_told_from_a_pickle_that_only_names_it():
    assert "a joblib file" in refused(pickled_estimator()).message
    assert opened(pickled({"joblib.numpy_pickle": 1}), "model.pkl").format == "pickle"


# Protocol buffers


@pytest.mark.parametrize("start", [0, 1, 3, 5, 7])
def test_a_message_from_its_middle_is_none(start):
    data = onnx()
    assert kind_of(data) == "onnx"
    assert start == 0 or kind_of(data[start:]) is None


def test_a_graph_that_goes_on_behind_the_end(tmp_path):
    """A download that stopped in the weights."""
    data = onnx(weights=4_096)[:-3_000]
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    from modelscope_cli.formats.registry import read_file

    with pytest.raises(
        UnsupportedFeatureError, match=r"an ONNX model \(made by pytorch 2\.1\.0, IR version 8, cut short: 2,9\d\d"
    ):
        read_file(str(path))


def test_the_beginning_of_a_file_in_an_archive_is_not_called_cut_short():
    assert "cut short" not in recognise(MemoryWindow(onnx(weights=4_096)[:1_000], "a.zip!/model.onnx")).what


@pytest.mark.parametrize("make", [onnx, saved_model, sentencepiece])
def test_a_message_with_a_field_too_many_is_none(make):
    assert kind_of(make() + b"\xfa\x7f\x01x") is None


def test_producer_from_a_file_is_shortened():
    message = refused(onnx(producer=b"x" * 50_000)).message
    assert len(message) < 250


# Archives


def test_an_archive_is_counted_by_suffix():
    names = [*[f"a/{n}.json" for n in range(20)], *[f"a/{n}.txt" for n in range(3)], "LICENSE", "b.md", "c.cfg"]
    message = refused(zip_bytes([Entry(name, b"x") for name in names])).message
    assert "26 files, 20 .json, 3 .txt, 1 .md, 2 others" in message


def test_npy_with_a_wrong_header_is_still_named():
    data = npy().replace(b"'shape': (3, 4)", b"'shape': [3; 4]")
    assert recognise(MemoryWindow(data, "a.npy")).what == "a NumPy array"
