"""What is known about every format, in words: `mscope formats`, and the table of the README.

The registry and composites.py decide what is read; these are the words about it, in a file of their own because `mscope inspect`
has no use for them. Files that are named and not read come from known.
"""

from __future__ import annotations

from typing import NamedTuple

READ, NAMED = "read", "named"
UNPACKED = ("gzip", "zstd", "bzip2", "xz")  # named only where they are not looked into: too deep in one another


class Entry(NamedTuple):
    """`name` is what JSON and --format rules call it (Checkpoint.format, where it is read), `title` what people do.

    `files` are usual names or suffixes, `reads` what is read of it (of what is only named: what to do), `rule` how it is known,
    `limits` what to know of their kind; `group` of what is only named: models, beside models, no models.
    """

    name: str
    title: str
    files: str
    reads: str
    rule: str
    limits: str = ""
    status: str = READ
    group: str = "models"


FORMATS = (
    Entry("torch-zip", "PyTorch (zip)", ".pt .pth .bin .ckpt",
          "state_dicts, training checkpoints, whole pickled modules; every rebuild function and storage type of torch; zip64, missing "
          "checksums, big-endian; FSDP shards",
          "a zip with ROOT/data.pkl",
          "nothing is imported or called; classes that are not torch's stay names"),
    Entry("torch-legacy", "PyTorch (legacy stacked pickles)", ".pt .pth .bin",
          "what torch before 1.6 wrote: stacked pickles with views and recorded modules",
          "a pickle of torch's magic number comes first",
          "as for the zip"),
    Entry("pickle", "bare pickle", ".pkl .pickle",
          "tensors inside plain pickles, optimizers, training_args.bin; what loading would import",
          "begins as a pickle of protocol 0 to 5 does",
          "arrays of NumPy are shown as values, not counted as tensors"),
    Entry("torch-tar", "PyTorch (tar, before 0.1.10)", ".pt .pth .tar",
          "every pickle in it, tensors and storages",
          "a tar with the members sys_info, pickle, storages and tensors"),
    Entry("torchscript", "TorchScript (zip)", ".pt .pth .ptl .jit",
          "parameters, buffers, constants, packed quantised weights; mobile .ptl; torch 1.0 to 1.3",
          "a zip with ROOT/data.pkl and ROOT/constants.pkl, or model.json and code/",
          "its code is accounted for, not run"),
    Entry("torch-export", "exported program (.pt2)", ".pt2",
          "three layouts; recorded parameters and buffers, constants",
          "a zip with archive_format or archive_version, or an exported program in JSON",
          "of its graph only the names and classes of modules are read"),
    Entry("torch-aotinductor", "AOTInductor package (.pt2)", ".pt2",
          "weights and constants; the compiled code is accounted for",
          "a .pt2 with data/aotinductor/ and no exported program",
          "its libraries are accounted for, not looked into"),
    Entry("torch-package", "torch.package", ".pt",
          "every pickle in it, TorchScript modules, the code is accounted for",
          "a zip with ROOT/.data/extern_modules",
          "its code is not run"),
    Entry("safetensors", "safetensors", ".safetensors",
          "all dtypes, counted in bits; names that save_model dropped are shown as tied",
          "8 bytes of length and a brace",
          "holes, overlaps and wrong sizes are refused; --lenient shows what can be shown"),
    Entry("sharded", "sharded sets (Hugging Face)", "*.index.json, -00001-of-00008",
          "through any shard, the index or the folder; index and shards are held against each other",
          "an index with weight_map, or numbers in the names",
          "an index that leads out of its folder is refused"),
    Entry("gguf", "GGUF", ".gguf",
          "v1 to v3, either byte order, split sets, every ggml type with its true bits a weight",
          "GGUF and a version",
          "vocabularies and other long arrays are skipped, not parsed"),
    Entry("dcp", "distributed checkpoint (DCP)", ".metadata and *.distcp",
          "tensors from their chunks, both ways of writing; holes, overlaps and missing ranks are named",
          "a folder with a .metadata that names torch's classes"),
    Entry("dcp-part", "one file of a distributed checkpoint", ".distcp",
          "the tensors in one .distcp, where its .metadata is not there",
          "torch zips one behind another",
          "without the index it is not known which tensor a piece belongs to"),
    Entry("dcp-safetensors", "distributed checkpoint (safetensors)", "shard-00001-model-*.safetensors",
          "the files of all ranks as one model",
          "the names that HuggingFaceStorageWriter gives"),
    Entry("deepspeed", "DeepSpeed ZeRO", "*_model_states.pt and *_optim_states.pt",
          "flat groups of stages 1 to 3 under the names of their parameters",
          "a folder with optimizer states of ranks"),
    Entry("tensor-parallel", "tensor-parallel sets", "consolidated.0N.pth, mp_rank_0N",
          "slices joined, what every rank holds counted once, with the evidence",
          "numbered names, from two files on"),
    Entry("archives", "archives with models in them", ".zip .tar .tgz .tar.gz .gz .bz2 .xz .zst .nemo .mar .whl",
          "the models in it, also in archives in archives; a member by name: models.zip!/bert/model.safetensors",
          "the magic number of the archive, and members that are models",
          "three deep, 1 GiB unpacked; nothing is extracted; .zst needs Python 3.14 or [zstd]"),
    Entry("folders", "folders", "any",
          "a repository or training run as a whole: which weights to use, which are the same again, adapters, tokenizer, configuration",
          "the names in it, and the content behind them"),
    Entry("baseline", "baseline", ".baseline.json",
          "what mscope baseline save wrote: everything about a model but its weights",
          "JSON that begins with a schema mscope.baseline/"),
)  # fmt: skip


MAGIC = (b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", b"L119547037146038801333356L")  # torch's, as pickles write it


def title_by_head(name: str, head: bytes) -> str:
    """What people call the format of a row of the registry; without torch's magic number a pickle is but a pickle."""
    name = "pickle" if name == "torch-legacy" and not any(number in head[:64] for number in MAGIC) else name
    return next(entry.title for entry in FORMATS if entry.name == name)


def entries() -> list[Entry]:
    """All formats, those that are read first."""
    from modelscope_cli.formats.known import KINDS

    named = [
        Entry(kind.name, kind.title, kind.files, kind.todo, kind.rule, "", NAMED, kind.group)
        for kind in KINDS
        if kind.name not in UNPACKED
    ]
    return [*FORMATS, *named]
