"""A model in an archive is found, shown under the way to it, and read like any other."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

from modelscope_cli.core.limits import DEFAULT_LIMITS
from modelscope_cli.errors import LimitError, ModelscopeError, SourceError, UnknownFormatError, UnsupportedFeatureError
from modelscope_cli.formats.folder import MOST_MODELS
from modelscope_cli.formats.locate import locate, names_of
from modelscope_cli.formats.registry import read, read_target
from tests.builders.archives import KINDS, MODEL, OTHER, PACKERS, gzipped, special, tarred, zipped
from tests.builders.safetensors_file import safetensors_bytes
from tests.builders.samples import SAMPLES
from tests.builders.shards import sharded_folder
from tests.builders.tar_file import TarEntry, tar_bytes
from tests.builders.torch_code import tensor
from tests.builders.torch_file import torch_zip_bytes
from tests.builders.zip_archive import Entry, zip_bytes
from tests.command import mscope
from tests.opened import codes

LEGACY = next(name for name in SAMPLES if "legacy" in name)
TORCH = torch_zip_bytes({"w": tensor("0", (2, 3))}, {"0": 24})


@pytest.fixture
def write(tmp_path):
    """Writes bytes under a name; the path."""

    def run(data: bytes, name: str = "a.zip") -> str:
        path = tmp_path / name
        path.write_bytes(data)
        return str(path)

    return run


def found(path: str, *, only: bool = False) -> list[str]:
    """The ways to all models behind a path, from the name of the archive on."""
    located = locate([path], only=only)
    for problem in located.problems:
        raise problem
    return [
        os.path.basename(target.path.partition("!/")[0]) + "!/" + target.path.partition("!/")[2] for target in located.found
    ]


def said(checkpoint, code: str) -> str:
    return "; ".join(note.message for note in checkpoint.notes if note.code == code)


@pytest.mark.parametrize("name", KINDS)
def test_model_in_every_kind_of_archive(write, name):
    path = write(KINDS[name], name)
    checkpoint = read(path)
    assert checkpoint.path.startswith(f"{path}!/")
    assert checkpoint.path.endswith("model.safetensors")
    assert checkpoint.nbytes == len(MODEL)
    assert sum(checkpoint.sections().values()) == len(MODEL)
    assert [tensor.name for tensor in checkpoint.tensors] == ["embed.weight", "layers.0.weight"]
    assert codes(checkpoint)["archive"] == "info"
    alone = name.startswith("model.safetensors")
    assert checkpoint.config == ({} if alone or name.endswith(".nemo") else {"model_type": "llama"})


@pytest.mark.parametrize("data", [TORCH, SAMPLES[LEGACY], MODEL])
@pytest.mark.parametrize("pack", [*PACKERS.values(), lambda data: zipped({"m.pt": data}), lambda data: tarred({"m.pt": data})])
def test_whatever_is_in_it_is_read_as_it_would_be_alone(write, data, pack):
    alone, packed = read(write(data, "m.pt")), read(write(pack(data), "p"))
    assert (packed.format, packed.nbytes, packed.sections()) == (alone.format, alone.nbytes, alone.sections())
    assert packed.tensors.names == alone.tensors.names


@pytest.mark.parametrize("name", ["weights.bin", "weights.pt", "weights", "x.safetensors"])
@pytest.mark.parametrize("suffix", PACKERS)
def test_suffix_that_hides_the_compression(write, suffix, name):
    assert found(write(PACKERS[suffix](MODEL), name)) == [f"{name}!/{name}"]


def test_stored_member_is_read_where_it_lies(write):
    path = write(zipped({"pad.txt": bytes(5_000), "m/model.safetensors": MODEL}, deflate=False))
    checkpoint = read(path)
    start = Path(path).read_bytes().index(MODEL)
    assert f"stored as it is from byte {start:,} on" in said(checkpoint, "archive")


@pytest.mark.parametrize("pack", [lambda data: zipped({"model.safetensors": data}), PACKERS[".zst"]], ids=["zip", "zstd"])
def test_only_what_is_read_is_unpacked_where_the_size_is_known(write, pack):
    checkpoint = read(write(pack(safetensors_bytes({"w": ("F32", (1 << 20,))}))))
    assert checkpoint.nbytes > 4 << 20
    assert ", of which 1,048,576 bytes had to be unpacked" in said(checkpoint, "archive")


def test_each_model_of_an_archive_is_a_target(write):
    assert found(write(zipped({"a.safetensors": MODEL, "b.safetensors": OTHER}))) == [
        "a.zip!/a.safetensors",
        "a.zip!/b.safetensors",
    ]


def test_one_of_two_forms_of_the_same_model(write):
    path = write(zipped({"model.safetensors": MODEL, "pytorch_model.bin": TORCH}))
    assert found(path) == ["a.zip!/model.safetensors"]
    assert codes(read(path))["other-sets"] == "info"
    assert read(path).in_folder is not None


def test_sharded_set_by_its_index(write, tmp_path):
    files = {f"repo/{file.name}": file.read_bytes() for file in sharded_folder(tmp_path).iterdir()}
    path = write(gzipped(tarred(files)), "set.tar.gz")
    checkpoint = read(path)
    assert [os.path.basename(file.path) for file in checkpoint.files] == [
        "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json",
    ]  # fmt: skip
    assert len(checkpoint.tensors) == 4
    assert not [note for note in checkpoint.notes if note.severity != "info"]


def test_shard_that_the_archive_lacks(write, tmp_path):
    files = {file.name: file.read_bytes() for file in sharded_folder(tmp_path).iterdir() if "00002-of" not in file.name}
    checkpoint = read(write(zipped(files)))
    assert said(checkpoint, "shard-unreadable") == "this shard of the set is missing - the archive does not hold it"


def test_numbered_shards_without_an_index(write, tmp_path):
    files = {file.name: file.read_bytes() for file in sharded_folder(tmp_path, index=None).iterdir()}
    assert len(read(write(zipped(files))).files) == 2


@pytest.mark.parametrize("name", ["x/model-00001-of-00002.safetensors", "x/model.safetensors.index.json", "x"])
def test_any_file_of_a_set_names_it(write, tmp_path, name):
    files = {f"x/{file.name}": file.read_bytes() for file in sharded_folder(tmp_path).iterdir()}
    path = write(zipped(files))
    assert found(f"{path}!/{name}") == ["a.zip!/x/model.safetensors"]
    if "0000" in name:
        assert found(f"{path}!/{name}", only=True) == [f"a.zip!/{name}"]


@pytest.mark.parametrize("between", ["!/", "!", "!//"])
def test_path_into_an_archive(write, between):
    path = write(zipped({"d/inner.zip": zipped({"m/model.safetensors": MODEL}), "d/b.safetensors": OTHER}))
    inner = "a.zip!/d/inner.zip!/m/model.safetensors"
    assert found(f"{path}{between}d/inner.zip{between}m/model.safetensors") == [inner]
    assert found(f"{path}{between}d/inner.zip") == [inner]
    assert sorted(found(f"{path}{between}d")) == sorted([inner, "a.zip!/d/b.safetensors"])


def test_path_into_an_archive_that_leads_nowhere(write):
    path = write(zipped({"d/model.safetensors": MODEL}))
    with pytest.raises(SourceError, match="holds no such file") as problem:
        found(f"{path}!/model.safetensors")
    assert "a.zip!/d/model.safetensors'" in problem.value.hint
    for wrong in (f"{path}x!/model.safetensors", write(MODEL, "m.safetensors") + "!/x"):
        with pytest.raises(SourceError):
            found(wrong)


def test_folder_that_is_called_like_an_archive(tmp_path):
    folder = tmp_path / "x.zip!"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(MODEL)
    assert read(str(folder / "model.safetensors")).nbytes == len(MODEL)
    assert not codes(read(str(folder)))


def test_model_that_only_its_content_tells(write):
    path = write(zipped({"blobs/0a1b2c": MODEL, "notes": b"text"}))
    assert found(path) == ["a.zip!/blobs/0a1b2c"]


def test_hidden_files_are_no_models(write):
    path = write(zipped({"m/model.safetensors": MODEL, ".cache/x.safetensors": OTHER, "m/.old.pt": TORCH}))
    assert found(path) == ["a.zip!/m/model.safetensors"]
    assert found(f"{path}!/.cache/x.safetensors") == ["a.zip!/.cache/x.safetensors"]


def test_archive_of_very_many_models(write):
    path = write(zipped({f"m{number}/model.safetensors": MODEL for number in range(MOST_MODELS + 1)}))
    with pytest.raises(SourceError, match=f"an archive of {MOST_MODELS + 1} models in {MOST_MODELS + 1} folders") as problem:
        found(path)
    assert "a.zip!/m1'" in problem.value.hint
    assert found(f"{path}!/m1") == ["a.zip!/m1/model.safetensors"]


def test_what_macos_adds_is_no_model(write):
    path = write(zipped({"m/model.safetensors": MODEL, "__MACOSX/m/._model.safetensors": b"\0\5\x16\7", "m/._x.pt": b"\0\5"}))
    assert found(path) == ["a.zip!/m/model.safetensors"]


@pytest.mark.parametrize("name", SAMPLES)
def test_formats_that_travel_in_archives_are_none_themselves(write, name):
    assert [target.archive for target in locate([write(SAMPLES[name], name)]).found] == [None]


def test_torch_zip_under_the_name_of_an_archive(write):
    assert found(write(zipped({"net.zip": TORCH}))) == ["a.zip!/net.zip"]


def test_torch_tar_that_is_compressed(write):
    alone, packed = read(write(SAMPLES["old.tar"], "m.tar")), read(write(gzipped(SAMPLES["old.tar"]), "m.tar.gz"))
    assert packed.format == alone.format == "torch-tar"
    assert packed.sections() == alone.sections()


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ({"a.py": b"", "b.py": b""}, "source code"),
        ({"x.npy": b"\x93NUMPY"}, "NumPy"),
        ({"config.json": b"{}", "model.weights.h5": b"\x89HDF"}, "Keras"),
    ],
)
def test_archive_without_a_model_is_named(write, files, kind):
    for data, name in ((zipped(files), "a.zip"), (tarred(files), "a.tar"), (gzipped(tarred(files)), "a.tar.gz")):
        path = write(data, name)
        with pytest.raises(ModelscopeError, match=kind):
            read(path)


def test_pointer_in_an_archive_is_named(write):
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 123\n"
    with pytest.raises(UnknownFormatError, match="Git LFS pointer") as problem:
        read(write(zipped({"repo/model.safetensors": pointer, "repo/config.json": b"{}"})))
    assert problem.value.path.endswith("a.zip!/repo/model.safetensors")


def test_compressed_text_is_named(write):
    with pytest.raises(UnknownFormatError, match="text file"):
        read(write(gzipped(b"hello\n" * 50), "a.gz"))
    with pytest.raises(UnknownFormatError, match="empty"):
        read(write(gzipped(b""), "a.gz"))


PARTS = {
    "dcp": {"s/.metadata": b"\x80\2torch.distributed.checkpoint", "s/__0_0.distcp": b"x"},
    "zero": {"mp_rank_00_model_states.pt": b"x", "zero_pp_rank_0_mp_rank_00_optim_states.pt": b"x"},
    "slices": {"consolidated.00.pth": TORCH, "consolidated.01.pth": TORCH},
    "megatron": {"mp_rank_00/model_optim_rng.pt": TORCH, "mp_rank_01/model_optim_rng.pt": TORCH},
    "shards": {"shard-00001-model-00001-of-00001.safetensors": MODEL},
}


@pytest.mark.parametrize("kind", PARTS)
def test_set_with_a_reader_of_its_own_has_to_be_unpacked(write, kind):
    with pytest.raises(UnsupportedFeatureError, match="a checkpoint in parts inside an archive") as problem:
        read(write(zipped(PARTS[kind])))
    assert problem.value.hint == "unpack it first and give the folder"


def test_parts_beside_a_model(write):
    checkpoint = read(write(zipped({**PARTS["dcp"], "model.safetensors": MODEL})))
    assert len(checkpoint.tensors) == 2
    assert codes(checkpoint)["archive-unread"] == "error"


def test_links_and_devices_are_said_and_not_followed(write, tmp_path):
    (tmp_path / "secret.safetensors").write_bytes(OTHER)
    members = (
        special("link.safetensors", tarfile.SYMTYPE, str(tmp_path / "secret.safetensors")),
        special("dev", tarfile.CHRTYPE),
        special("pipe", tarfile.FIFOTYPE),
        special("folder", tarfile.DIRTYPE),
    )
    checkpoint = read(write(tarred({"model.safetensors": MODEL}, *members), "a.tar"))
    assert len(checkpoint.tensors) == 2
    lost = "links that do not lead to a file of the archive are not followed: 1 (link.safetensors)"
    assert said(checkpoint, "archive-links") == lost
    assert said(checkpoint, "archive-special") == "members that are no ordinary files are not read: 2 (dev, pipe)"


@pytest.mark.parametrize(
    "name", ["../model.safetensors", "a/../../model.safetensors", "..\\model.safetensors", "x" * 5_000, "a/" * 100 + "m.pt"]
)
def test_names_that_lead_out_are_said_and_not_read(write, tmp_path, name):
    (tmp_path / "model.safetensors").write_bytes(OTHER)
    checkpoint = read(write(zip_bytes([Entry(name, OTHER), Entry("ok.safetensors", MODEL)])))
    assert checkpoint.path.endswith("!/ok.safetensors")
    assert codes(checkpoint)["archive-outside"] == "warning"


@pytest.mark.parametrize(
    "name", ["/m/model.safetensors", "./m/model.safetensors", "m\\model.safetensors", "m//model.safetensors"]
)
def test_names_as_other_programs_write_them(write, name):
    assert found(write(zip_bytes([Entry(name, MODEL)]))) == ["a.zip!/m/model.safetensors"]


def test_two_members_of_one_name(write):
    checkpoint = read(write(zip_bytes([Entry("model.safetensors", OTHER), Entry("./model.safetensors", MODEL)])))
    assert checkpoint.nbytes == len(MODEL)
    assert codes(checkpoint)["archive-duplicate"] == "warning"


def test_encrypted_member(write):
    scrambled = bytes(byte ^ 0x5A for byte in MODEL)
    with pytest.raises(UnsupportedFeatureError, match="encrypted") as problem:
        read(write(zip_bytes([Entry("model.safetensors", scrambled, flags=1)])))
    assert "password" in problem.value.hint


def test_member_that_only_says_it_is_encrypted(write):
    checkpoint = read(write(zip_bytes([Entry("model.safetensors", MODEL, flags=1)])))
    assert len(checkpoint.tensors) == 2
    assert codes(checkpoint)["zip-encrypted-flag"] == "warning"


def test_headers_of_the_model_that_disagree(write):
    entries = [Entry("model.safetensors", MODEL, local_name="other.safetensorsx"), Entry("b.txt", b"x", local_flags=4)]
    notes = [note for note in read(write(zip_bytes(entries))).notes if note.code == "zip-headers-differ"]
    assert [note.where.rpartition("!/")[2] for note in notes] == ["model.safetensors"]


@pytest.mark.parametrize("method", [9, 14, 98])
def test_method_that_is_not_known(write, method):
    with pytest.raises(UnsupportedFeatureError, match=f"zip compression method {method}"):
        read(write(zip_bytes([Entry("model.safetensors", MODEL, method=method)])))


@pytest.mark.parametrize(
    "member", [TarEntry("m/model.safetensors", MODEL, b"S"), TarEntry("m/GNUSparseFile.7/model.safetensors", MODEL)]
)
def test_sparse_file_of_a_tar(write, member):
    with pytest.raises(UnsupportedFeatureError, match="a sparse file of GNU tar") as problem:
        read(write(tar_bytes([member]), "a.tar"))
    assert problem.value.path.endswith("a.tar!/m/model.safetensors")
    assert problem.value.hint.startswith("unpack it first")


def test_zip64(write):
    assert read(write(zip_bytes([Entry("model.safetensors", MODEL, zip64=True, deflate=True)], zip64=True))).nbytes == len(
        MODEL
    )


def test_zip_that_was_streamed(write):
    entry = Entry("model.safetensors", MODEL, deflate=True, descriptor=True)
    assert read(write(zip_bytes([entry]))).nbytes == len(MODEL)


def test_archives_in_archives_end_somewhere(write):
    data = zipped({"model.safetensors": MODEL})
    for level in range(2):
        data = zipped({f"{level}.zip": data})
    assert len(found(write(data))) == 1
    with pytest.raises(LimitError, match="archive depth"):
        found(write(zipped({"outer.zip": data})))
    deeper = DEFAULT_LIMITS._replace(archive_depth=4)
    assert len(locate([write(zipped({"outer.zip": data}))], limits=deeper).found) == 1


def test_number_of_archives_in_an_archive(write):
    path = write(zipped({f"{number}.zip": zipped({"model.safetensors": MODEL}) for number in range(4)}))
    assert len(found(path)) == 4
    few = locate([path], limits=DEFAULT_LIMITS._replace(archives=2))
    assert len(few.found) == 2
    assert codes(read_target(few.found[0]))["archive-unread"] == "error"


def test_notes_name_every_archive_on_the_way(write):
    notes = [note.message for note in read(write(KINDS["nested.zip"])).notes if note.code == "archive"]
    assert notes[0].startswith("a member of a gzip-compressed tar archive of ")
    assert notes[1].startswith("a member of a zip archive of ")


def test_bytes_after_the_compressed_data(write):
    checkpoint = read(write(gzipped(MODEL) + b"more", "model.safetensors.gz"))
    assert said(checkpoint, "archive-trailing") == "4 bytes follow the compressed data"


def test_archive_itself_is_a_name_of_what_is_in_it(write):
    path = write(KINDS["deflated.zip"])
    assert path in names_of(locate([path]).found[0])


def test_folder_with_nothing_but_an_archive(write, tmp_path):
    write(KINDS["packed.tgz"], "model.tar.gz")
    write(b"text", "readme.txt")
    assert read(str(tmp_path)).path.endswith("model.tar.gz!/repo/model.safetensors")


def test_file_is_closed_with_its_targets(write):
    path = write(KINDS["stored.zip"])
    located = locate([path])
    read_target(located.found[0])
    before = open_files()
    del located
    assert path in before
    assert path not in open_files()


def open_files() -> list[str]:
    try:
        return [os.path.realpath(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")]
    except OSError:
        pytest.skip("there is no list of open files")


def test_missing_package_is_named(write, monkeypatch):
    import sys

    from modelscope_cli.errors import MissingExtraError

    for name in ("compression", "backports"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError) as problem:
        read(write(KINDS["model.safetensors.zst"], "m.zst"))
    assert problem.value.hint == "pip install 'modelscope-cli[zstd]'"


@pytest.mark.parametrize(
    "name",
    ["m\0del.safetensors", "a\nb/model.safetensors", "x" * 5_000 + ".safetensors"],
    ids=["NUL", "line break", "very long"],
)
def test_a_member_whose_name_no_system_would_take(write, name, tmp_path, monkeypatch):
    """A name is text: it is no path, and never handed to the system."""
    path = write(zipped({name: MODEL}))
    monkeypatch.chdir(tmp_path)
    located = locate([path])
    assert len(located.found) + len(located.problems) == 1
    for command in ("inspect", "scan", "report", "baseline save", "visualize -o a.svg", "check --max-size 1GB"):
        done = mscope(*command.split(), path)
        assert done.code in (0, 3), (command, done.err[:500])
        assert "\0" not in done.out + done.err
