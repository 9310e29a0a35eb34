"""Archives of files, written with the standard library, and compressed ones."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable, Mapping

from tests.builders.safetensors_file import safetensors_bytes

Files = Mapping[str, bytes]

MODEL = safetensors_bytes({"embed.weight": ("F32", (10, 4)), "layers.0.weight": ("F32", (4, 4))})
OTHER = safetensors_bytes({"head.weight": ("F16", (3, 5))})


def zipped(files: Files, *, deflate: bool = True, method: int | None = None) -> bytes:
    """A zip archive; members in the order given."""
    buffer = io.BytesIO()
    chosen = method if method is not None else zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED
    with zipfile.ZipFile(buffer, "w", chosen) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data, chosen)
    return buffer.getvalue()


def tarred(files: Files, *members: tarfile.TarInfo) -> bytes:
    """A tar archive, with `members` (links and the like, without data) behind the files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for info in members:
            archive.addfile(info)
    return buffer.getvalue()


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    """A member that is no file."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def zstd(data: bytes) -> bytes:
    """One zstd frame with its size and a checksum, as the program zstd writes it."""
    try:
        from compression import zstd as module
    except ImportError:
        from backports import zstd as module
    return module.compress(data, options={module.CompressionParameter.checksum_flag: 1})


def gzipped(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzipped,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstd,
}

SMALL = {"repo/config.json": b'{"model_type": "llama"}', "repo/model.safetensors": MODEL, "repo/README.md": b"# a model\n"}

# One small archive of every kind, each with MODEL in it.
KINDS: dict[str, bytes] = {
    "stored.zip": zipped(SMALL, deflate=False),
    "deflated.zip": zipped(SMALL),
    "bzip2.zip": zipped(SMALL, method=zipfile.ZIP_BZIP2),
    "plain.tar": tarred(SMALL),
    "packed.tgz": gzipped(tarred(SMALL)),
    **{f"packed.tar{suffix}": pack(tarred(SMALL)) for suffix, pack in PACKERS.items()},
    **{f"model.safetensors{suffix}": pack(MODEL) for suffix, pack in PACKERS.items()},
    "nested.zip": zipped({"inner.tar.gz": gzipped(tarred(SMALL))}),
    "model.nemo": tarred({"./model_config.yaml": b"a: 1", "./model.safetensors": MODEL}),
}
