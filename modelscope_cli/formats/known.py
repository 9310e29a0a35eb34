"""Files that are found under a model's name and are not one: named by content, with what to do about it.

A row is (pattern on the first bytes, what it is, what to do). The first row that matches counts.
"""

from __future__ import annotations

import re

from modelscope_cli.errors import UnknownFormatError, UnsupportedFeatureError

HEAD = 1 << 12  # bytes that are looked at

_NOT_YET = "this version reads PyTorch, safetensors and GGUF files"

FOREIGN: tuple[tuple[str, str, str], ...] = (
    (r"version https://git-lfs\.github\.com/spec/v1", "a Git LFS pointer: the model itself was not downloaded", "run `git lfs pull` in the repository"),
    (
        r"(?i)\s*(<!doctype html|<html|<head|<\?xml[^>]*>\s*<!doctype html)",
        "an HTML page, perhaps an error page instead of the download",
        "look at it in a browser, then download again",
    ),
    (r"\s*<\?xml|\s*<svg", "an XML file", ""),
    (r"lmgg|fmgg|tjgg|algg", "an old ggml file (before GGUF)", _NOT_YET),
    (r"\x89HDF\r\n\x1a\n", "an HDF5 file (Keras weights, perhaps)", _NOT_YET),
    (r"....TFL3", "a TensorFlow Lite model", _NOT_YET),
    (r"....PTMF", "a mobile TorchScript module in a flatbuffer: not read yet", "save it without _use_flatbuffer, or save the model's state_dict()"),
    (r"....ET12", "an ExecuTorch program", _NOT_YET),
    (r"\x93NUMPY", "a NumPy array (.npy)", _NOT_YET),
    (r"\x89PNG\r\n", "a PNG image", ""),
    (r"\xff\xd8\xff", "a JPEG image", ""),
    (r"GIF8", "a GIF image", ""),
    (r"RIFF....WEBP", "a WebP image", ""),
    (r"%PDF", "a PDF document", ""),
    (r"\x7fELF", "a Linux program or library", ""),
    (r"MZ", "a Windows program or library", ""),
    (r"\xcf\xfa\xed\xfe|\xca\xfe\xba\xbe", "a macOS program or library", ""),
    (r"\x1f\x8b", "gzip-compressed", "decompress it first: gunzip"),
    (r"\x28\xb5\x2f\xfd", "zstd-compressed", "decompress it first: unzstd"),
    (r"BZh", "bzip2-compressed", "decompress it first: bunzip2"),
    (r"\xfd7zXZ", "xz-compressed", "decompress it first: unxz"),
    (r"7z\xbc\xaf", "a 7-zip archive", "unpack it first"),
    (r"Rar!", "a RAR archive", "unpack it first"),
    (r"SQLite format 3", "an SQLite database", ""),
    (r"\x08[\x01-\x0f]\x12.[ -~]", "an ONNX model, by its looks", _NOT_YET),
    (r"#!", "a script", ""),
    (r"\s*[\[{]", "a JSON file", "configuration and tokenizer files hold no tensors; inspect the weights beside it"),
)  # fmt: skip

_COMPILED: list[tuple[re.Pattern[bytes], str, str]] = []


def recognise(head: bytes) -> tuple[str, str] | None:
    """(what it is, what to do) for foreign content, or None."""
    if not _COMPILED:
        _COMPILED.extend((re.compile(pattern.encode("latin-1"), re.DOTALL), what, hint) for pattern, what, hint in FOREIGN)
    for pattern, what, hint in _COMPILED:
        if pattern.match(head) and not (what == "a JSON file" and not looks_like_text(head)):
            return what, hint
    if looks_like_text(head):
        first = head.split(b"\n", 1)[0][:40].decode("utf-8", "replace")
        return f"a text file that begins {first!r}", "inspect the weights file instead"
    return None


def looks_like_text(head: bytes) -> bool:
    """Printable UTF-8, allowing for a character cut at the end."""
    if not head or b"\0" in head:
        return False
    text = head.decode("utf-8", "replace").rstrip("\ufffd")
    return "\ufffd" not in text and sum(not character.isprintable() and not character.isspace() for character in text) == 0


def foreign_error(head: bytes, size: int, path: str) -> UnknownFormatError | UnsupportedFeatureError:
    """The error for content that no reader takes."""
    if size == 0:
        return UnknownFormatError("an empty file", path=path, hint="the download or the save did not finish: get it again")
    found = recognise(head)
    if found is None:
        if not any(head):
            return UnknownFormatError(
                f"the first {len(head):,} bytes are all zero",
                path=path,
                hint="the download did not finish, or the disk was full",
            )
        shown = " ".join(f"{byte:02x}" for byte in head[:16])
        return UnknownFormatError(f"not a model file of a known kind; it begins {shown}", path=path, hint=_NOT_YET)
    what, hint = found
    if what.startswith("a Git LFS pointer"):
        size_line = re.search(rb"\nsize (\d{1,18})", head)
        if size_line:
            what += f" (it stands for {int(size_line[1]):,} bytes)"
    kind = UnsupportedFeatureError if hint == _NOT_YET else UnknownFormatError
    return kind(f"this is {what}", path=path, hint=hint or "give the path of a weights file")
