"""What is said of an archive as a whole: which files are models, which only seemed to be, and which names are others of one file."""

from __future__ import annotations

import os
import shlex
import tarfile
import zipfile

import pytest

from modelscope_cli.core.limits import DEFAULT_LIMITS
from modelscope_cli.errors import ModelscopeError, SourceError, UnknownFormatError, UnsupportedFeatureError
from modelscope_cli.formats import archive_search
from modelscope_cli.formats.archive import shortened, some
from modelscope_cli.formats.folder import MOST_MODELS
from modelscope_cli.formats.locate import locate
from modelscope_cli.formats.registry import read, read_target
from tests.builders.archives import MODEL, OTHER, gzipped, special, tarred, zipped
from tests.builders.foreign import onnx, saved_model
from tests.builders.pickle_code import pickled
from tests.builders.safetensors_file import safetensors_bytes
from tests.builders.tar_file import TarEntry, tar_bytes
from tests.builders.torch_code import tensor
from tests.builders.torch_file import torch_zip_bytes
from tests.builders.zip_archive import Entry, zip_bytes

TORCH = torch_zip_bytes({"w": tensor("0", (2, 3))}, {"0": 24})
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 123\n"


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes bytes under a name in the current folder; the name."""
    monkeypatch.chdir(tmp_path)

    def run(data: bytes, name: str = "a.zip") -> str:
        (tmp_path / name).write_bytes(data)
        return name

    return run


def targets(path: str) -> list[str]:
    """The names of the models in an archive."""
    located = locate([path])
    for problem in located.problems:
        raise problem
    return [target.path.partition("!/")[2] for target in located.found]


def groups(path: str) -> dict[str, tuple[str, str, bool]]:
    """What is said of each name: what it is, why, and whether it is used."""
    folder = read_target(locate([path]).found[-1]).in_folder
    return {name: (entry.what, entry.why, entry.used) for entry in folder.entries for name in entry.names}


def refused(path: str) -> ModelscopeError:
    with pytest.raises(ModelscopeError) as caught:
        read(path)
    return caught.value


def notes(path: str, code: str) -> list[str]:
    return [note.message for note in read(path).notes if note.code == code]


# Which files are models


def test_what_is_called_like_a_model_and_is_none_is_not_used(write):
    files = {
        "out/model.pt": TORCH,
        "data/train.bin": bytes(range(7)) * 9,
        "data/empty.pth": b"",
        "data/a.bin": b"hello, this is text\n",
    }
    path = write(zipped(files))
    assert targets(path) == ["out/model.pt"]
    said = groups(path)
    assert said["out/model.pt"][2]
    assert said["data/train.bin"] == ("other", "no model by its content", False)
    assert said["data/empty.pth"] == ("other", "empty", False)
    assert said["data/a.bin"] == ("other", "a text file", False)


def test_pickle_without_tensors_beside_a_model(write):
    path = write(zipped({"m.pt": TORCH, "meta.pkl": pickled({"stoi": 1})}))
    assert targets(path) == ["m.pt"]
    assert groups(path)["meta.pkl"] == ("other", "a pickle without tensors", False)
    assert targets(write(zipped({"meta.pkl": pickled({"stoi": 1})}))) == ["meta.pkl"]


def test_hidden_model_that_is_read_is_not_called_hidden(write):
    path = write(zipped({".cache/x/model.safetensors": MODEL, "README.md": b"x"}))
    assert groups(path)[".cache/x/model.safetensors"] == ("weights", "a model by its content", True)


def test_files_add_up(write):
    files = {"m.pt": TORCH, "b.bin": b"x" * 5, "c.pth": b"", ".hidden": b"yy"}
    folder = read(write(zipped(files))).in_folder
    assert sum(entry.nbytes for entry in folder.entries) == sum(map(len, files.values()))
    assert sum(entry.files for entry in folder.entries) == len(files)


# Very many of them


@pytest.mark.parametrize("form", ["m{}.safetensors", "m{}.zip"])
def test_very_many_models_beside_one_another(write, form):
    inner = zipped({"model.safetensors": MODEL}) if form.endswith(".zip") else MODEL
    path = write(zipped({form.format(number): inner for number in range(MOST_MODELS + 1)}))
    problem = refused(path)
    assert isinstance(problem, SourceError)
    assert problem.message.startswith(f"an archive of {MOST_MODELS + 1} models")
    assert problem.hint.startswith(f"name one of them: '{path}!/m")
    assert len(targets(write(zipped({form.format(number): inner for number in range(MOST_MODELS)})))) == MOST_MODELS


def test_more_archives_than_are_looked_into(write):
    data = zipped({f"{number}.zip": zipped({"m.safetensors": MODEL}) for number in range(MOST_MODELS + 40)})
    located = locate([write(data)], limits=DEFAULT_LIMITS._replace(archives=MOST_MODELS + 30))
    assert located.problems[0].message == f"an archive of {MOST_MODELS + 30} models and more in {MOST_MODELS + 30} folders"


def test_only_the_largest_of_very_many_are_opened(write, monkeypatch):
    monkeypatch.setattr(archive_search, "MOST_OPENED", 3)
    path = write(zipped({**{f"{number}.bin": b"\1\2\3\4" for number in range(9)}, "z.safetensors": MODEL}))
    assert targets(path) == ["z.safetensors"]
    said = groups(path)
    assert [what for what, _, _ in said.values()].count("another model") == 7
    assert notes(path, "archive-unlooked") == ["of 10 files that are called like models only the 3 largest were looked at"]


def test_names_that_are_looked_at_are_those_called_like_models(write):
    path = write(zipped({**{f"{number}.dat": b"x" for number in range(9)}, "deep/er/m.safetensors": MODEL}))
    located = locate([path], limits=DEFAULT_LIMITS._replace(folder_entries=4))
    assert [target.path for target in located.found] == [f"{path}!/deep/er/m.safetensors"]
    assert "of 10 files only 4 were looked at (--limit folder_entries=N)" in [note.message for note in located.found[0].notes]


def test_members_of_all_archives_are_counted_together(write):
    files = {f"{number}.zip": zipped({"m.safetensors": MODEL, "a": b"", "b": b""}) for number in range(3)}
    located = locate([write(zipped(files))], limits=DEFAULT_LIMITS._replace(members=3 + 2 * 3))
    assert [target.path.partition("!/")[2] for target in located.found] == [f"{n}.zip!/m.safetensors" for n in range(2)]


def test_few_of_what_is_slow_to_unpack_are_looked_at(write, monkeypatch):
    from modelscope_cli.formats import archive

    monkeypatch.setattr(archive, "MOST_SLOW_HEADS", 2)
    files = {f"{number}.safetensors": MODEL for number in range(4)}
    assert targets(write(zipped(files, method=zipfile.ZIP_BZIP2))) == ["0.safetensors", "1.safetensors"]


# Models of other programs


@pytest.mark.parametrize("pack", [zipped, tarred, lambda files: gzipped(tarred(files))])
def test_model_of_another_program_is_named(write, pack):
    path = write(pack({"README.md": b"x", "my models/net.onnx": onnx(weights=9_000)}))
    problem = refused(path)
    assert isinstance(problem, UnsupportedFeatureError)
    assert problem.message == "this is an archive with an ONNX model (my models/net.onnx), not read yet"
    assert problem.hint == f"mscope visualize '{path}!/my models/net.onnx' --engine netron draws it; mscope scan says what loading it can run"


def test_models_of_other_programs_are_counted(write):
    problem = refused(write(zipped({f"{name}.onnx": onnx() for name in "abcde"})))
    assert "with 5 files, each an ONNX model (a.onnx, b.onnx, c.onnx, …), not read" in problem.message


def test_package_with_a_model_of_another_program(write):
    path = write(zipped({"p/__init__.py": b"", "p/m.onnx": onnx(), "p-1.dist-info/WHEEL": b"x"}), "p.whl")
    assert refused(path).message.startswith("this is a Python package (wheel) with an ONNX model (p/m.onnx)")


def test_archive_that_is_a_model_of_another_program_stays_one(write):
    assert refused(write(zipped({"m/saved_model.pb": saved_model(), "m/a.onnx": onnx()}))).message.startswith(
        "this is a TensorFlow SavedModel"
    )


def test_many_pointers_are_told_together(write):
    problem = refused(write(zipped({f"model-{number}.safetensors": POINTER for number in range(9)})))
    assert isinstance(problem, UnknownFormatError)
    assert problem.message.startswith("this is an archive with 9 files, each a Git LFS pointer (model-0.safetensors")
    assert "git lfs pull" in problem.hint


@pytest.mark.parametrize("data", [zipped({}), zip_bytes([Entry("a/"), Entry("a/b/")])])
def test_empty_archive(write, data):
    assert refused(write(data)).message.startswith("this is an empty archive")


def test_archive_of_nothing_but_ways_out(write):
    assert "lead out of the archive" in refused(write(zip_bytes([Entry("../m.pt", TORCH)]))).message


def test_method_of_zip_by_its_name(write):
    assert refused(write(zip_bytes([Entry("m.safetensors", MODEL, method=14)]))).message == "zip compression method 14 (LZMA)"


# Links


def link(name: str, to: str) -> tarfile.TarInfo:
    return special(name, tarfile.SYMTYPE, to)


@pytest.mark.parametrize(
    "member",
    [
        special("model.safetensors", tarfile.LNKTYPE, "blobs/x"),
        special("model.safetensors", tarfile.LNKTYPE, "./blobs/x"),
        link("model.safetensors", "blobs/x"),
        link("snap/model.safetensors", "../blobs/x"),
        link("snap/model.safetensors", "./../other/../blobs/x"),
    ],
)
def test_link_to_a_file_of_the_archive_is_a_name_of_it(write, member):
    path = write(tarred({"blobs/x": MODEL}, member), "a.tar")
    assert targets(path) == [member.name]
    assert read(path).nbytes == len(MODEL)
    folder = read(path).in_folder
    assert (sum(entry.files for entry in folder.entries), sum(entry.nbytes for entry in folder.entries)) == (1, len(MODEL))
    assert notes(path, "archive-links") == []


@pytest.mark.parametrize(
    "members",
    [
        [link("m.safetensors", "/blobs/x")],
        [link("m.safetensors", "../blobs/x")],
        [link("s/m.safetensors", "../../blobs/x")],
        [link("m.safetensors", "blobs")],
        [link("m.safetensors", "blobs/nothing")],
        [link("m.safetensors", "")],
        [link("m.safetensors", "m.safetensors")],
        [link("m.safetensors", "n"), link("n", "m.safetensors")],
        [special("m.safetensors", tarfile.LNKTYPE, "../blobs/x")],
        [link("../m.safetensors", "blobs/x")],
    ],
)
def test_link_that_leads_elsewhere_is_said(write, tmp_path, members):
    (tmp_path.parent / "blobs").mkdir(exist_ok=True)
    (tmp_path.parent / "blobs" / "x").write_bytes(OTHER)
    path = write(tarred({"blobs/x": MODEL}, *members), "a.tar")
    assert targets(path) == ["blobs/x"]
    lost = ", ".join(member.name for member in members)
    said = f"links that do not lead to a file of the archive are not followed: {len(members)} ({lost})"
    assert notes(path, "archive-links") == [said]


def test_link_to_a_link(write):
    members = [link("a.safetensors", "b"), link("b", "c"), link("c", "blobs/x")]
    assert targets(write(tarred({"blobs/x": MODEL}, *members), "a.tar")) == ["a.safetensors"]
    chain = [link(f"{number}", f"{number + 1}") for number in range(200)]
    path = write(tarred({"200": MODEL}, *chain), "a.tar")
    assert "not followed: " in notes(path, "archive-links")[0]


@pytest.mark.parametrize("pax", [True, False])
def test_target_longer_than_its_field(write, pax):
    folder = "blobs/" + "long" * 40
    entry = TarEntry("m.safetensors", b"", b"2", link="short", pax={"linkpath": f"{folder}/x"})
    if pax:
        data = tar_bytes([TarEntry("a", MODEL, pax={"path": f"{folder}/x"}), entry])
    else:
        long_name, long_link = TarEntry("././@LongLink", f"{folder}/x\0".encode(), b"L"), TarEntry("././@LongLink", b"", b"K")
        data = tar_bytes(
            [
                long_name,
                TarEntry("a", MODEL),
                long_link._replace(data=f"{folder}/x\0".encode()),
                entry._replace(pax=None),
            ]
        )
    assert targets(write(data, "a.tar")) == ["m.safetensors"]


def test_file_and_link_of_one_name(write):
    path = write(tarred({"m.safetensors": MODEL, "x": OTHER}, link("m.safetensors", "x")), "a.tar")
    assert read(path).nbytes == len(MODEL)
    assert "a file and a link are called 'm.safetensors'" in notes(path, "archive-duplicate")[0]


def test_packed_cache_of_hugging_face(write):
    base = "hub/models--org--m"
    files = {f"{base}/blobs/111": MODEL, f"{base}/blobs/222": OTHER, f"{base}/blobs/333": b"{}", f"{base}/refs/main": b"b" * 40}
    links = [
        link(f"{base}/snapshots/{revision * 40}/{name}", f"../../blobs/{blob}")
        for revision, weights in (("a", "111"), ("b", "222"))
        for name, blob in (("model.safetensors", weights), ("config.json", "333"))
    ]
    path = write(tarred(files, *links), "hub.tar")
    assert targets(path) == [f"{base}/snapshots/{'b' * 40}/model.safetensors"]
    assert read(path).nbytes == len(OTHER)
    entries = {entry.what: entry for entry in read(path).in_folder.entries}
    assert entries["weights"].nbytes == len(OTHER)
    assert entries["another revision"].nbytes == len(MODEL)
    assert sum(entry.nbytes for entry in entries.values()) == sum(map(len, files.values()))


# Sentences


def test_bytes_behind_a_compressed_tar(write):
    path = write(gzipped(tarred({"m.safetensors": MODEL})) + b"garbage", "a.tar.gz")
    assert notes(path, "archive-trailing") == ["7 bytes follow the compressed data"]


def test_names_in_a_sentence_are_cut_where_a_folder_ends():
    name = "/".join(["models--org--name", "snapshots", "a" * 30, "unet", "diffusion_pytorch_model.safetensors"])
    assert shortened(name) == f"…/{'a' * 30}/unet/diffusion_pytorch_model.safetensors"
    assert shortened(name).startswith("…/")
    assert len(shortened("x" * 200)) == 80
    assert shortened("short/name") == "short/name"
    assert some(["a", "b", "c", "d"]) == "4 (a, b, c, …)"


def test_paths_in_hints_can_be_typed(write, tmp_path):
    from modelscope_cli.core.place import typed

    for path in ("a b", "it's", "x!/y", "$(x)", "模型", "-rf", "~x", "a;b", "plain-1.0/x_y.pt", "a\nb"):
        (given,) = shlex.split(typed(path))
        assert os.path.normpath(given) == path
    assert typed("plain-1.0/x_y.pt") == "plain-1.0/x_y.pt"
    assert typed("-rf") == "./-rf"
    problem = refused(write(onnx(), "my model.onnx"))
    assert problem.hint == "mscope visualize 'my model.onnx' --engine netron draws it; mscope scan says what loading it can run"


def in_zip(files: dict[str, bytes]) -> bytes:
    return zip_bytes([Entry(name, data) for name, data in files.items()])


def in_tar(files: dict[str, bytes]) -> bytes:
    return tar_bytes([TarEntry("x", data, pax={"path": name}) for name, data in files.items()])


@pytest.mark.parametrize("pack", [in_zip, in_tar])
def test_names_that_no_system_has(write, pack):
    """A zero byte, in the name of an index and of the folder that it is in."""
    index = b'{"weight_map": {"w": "m-1-of-2.safetensors", "v": "m-2-of-2.safetensors"}}'
    shards = {f"a\0b/m-{n}-of-2.safetensors": safetensors_bytes({name: ("U8", (n,))}) for n, name in ((1, "w"), (2, "v"))}
    write(pack({"a\0b/m\0.safetensors.index.json": index, **shards}))
    assert [sorted(read_target(target).tensors.names) for target in locate(["a.zip"]).found] == [["v", "w"]]
    write(pack({"a\0b/a.bin": b"\1" * 600, "a\0b/.metadata": b"\1", "a\0b/group1-shard1of1.bin": b"\1" * 9}))
    with pytest.raises(ModelscopeError):
        targets("a.zip")


@pytest.mark.parametrize("pack", [in_zip, in_tar])
def test_a_folder_that_is_called_like_the_state_of_a_training(write, pack):
    name = write(pack({"optimizer.pt/data": b"a"}))
    assert str(refused(name)).startswith(f"{name}: this is an archive, not a PyTorch checkpoint (1 file, optimizer.pt/data)")
