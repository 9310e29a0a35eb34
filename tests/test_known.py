"""Files that are no models are named by their content, with what to do about them."""

from __future__ import annotations

import pytest

from modelscope_cli.errors import UnknownFormatError, UnsupportedFeatureError
from modelscope_cli.formats.known import FOREIGN, recognise
from tests.builders.zip_archive import Entry, zip_bytes
from tests.opened import opened

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"

EXAMPLES = [
    (POINTER, "a Git LFS pointer"),
    (b"<!DOCTYPE html>\n<html><body>404</body></html>", "an HTML page"),
    (b"\n <HTML><head></head></HTML>", "an HTML page"),
    (b"<?xml version='1.0'?>\n<!DOCTYPE html><html/>", "an HTML page"),
    (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "an XML file"),
    (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an XML file"),
    (b"lmgg" + bytes(20), "an old ggml file"),
    (b"\x89HDF\r\n\x1a\n" + bytes(20), "an HDF5 file"),
    (b"\x1c\0\0\0TFL3" + bytes(20), "a TensorFlow Lite model"),
    (b"\x24\0\0\0PTMF" + bytes(20), "a mobile TorchScript module in a flatbuffer"),
    (b"\x1c\0\0\0ET12" + bytes(20), "an ExecuTorch program"),
    (b"\x93NUMPY\x01\0" + bytes(20), "a NumPy array"),
    (PNG, "a PNG image"),
    (b"\xff\xd8\xff\xe0\0\x10JFIF", "a JPEG image"),
    (b"GIF89a" + bytes(9), "a GIF image"),
    (b"RIFF\x10\0\0\0WEBPVP8 ", "a WebP image"),
    (b"%PDF-1.7\n", "a PDF document"),
    (b"\x7fELF\x02\x01\x01" + bytes(9), "a Linux program"),
    (b"MZ\x90\0" + bytes(9), "a Windows program"),
    (b"\xcf\xfa\xed\xfe" + bytes(9), "a macOS program"),
    (b"\x1f\x8b\x08\0" + bytes(9), "gzip-compressed"),
    (b"\x28\xb5\x2f\xfd" + bytes(9), "zstd-compressed"),
    (b"BZh91AY&SY\0", "bzip2-compressed"),
    (b"\xfd7zXZ\0" + bytes(9), "xz-compressed"),
    (b"7z\xbc\xaf\x27\x1c" + bytes(9), "a 7-zip archive"),
    (b"Rar!\x1a\x07" + bytes(9), "a RAR archive"),
    (b"SQLite format 3\0" + bytes(9), "an SQLite database"),
    (b"\x08\x07\x12\x07pytorch" + bytes(9), "an ONNX model"),
    (b"#!/bin/sh\necho hello\n", "a script"),
    (b'{"version": "1.0", "truncation": null}', "a JSON file"),
    (b'  [{"a": 1}]', "a JSON file"),
    (b"accuracy 0.98\nloss 0.1\n", "a text file that begins 'accuracy 0.98'"),
    ("naïve café\n".encode(), "a text file"),
]


@pytest.mark.parametrize(("head", "what"), EXAMPLES, ids=[what for _, what in EXAMPLES])
@pytest.mark.parametrize("name", ["model.pt", "model.safetensors"])
def test_named(head, what, name):
    with pytest.raises((UnknownFormatError, UnsupportedFeatureError)) as caught:
        opened(head, name)
    assert what in caught.value.message
    assert caught.value.hint


def test_every_row_of_the_table_has_an_example():
    found = {recognise(head)[0] for head, _ in EXAMPLES}
    assert {what for _, what, _ in FOREIGN} <= found


def test_pointer_tells_the_size_of_the_model():
    with pytest.raises(UnknownFormatError) as caught:
        opened(POINTER)
    assert "12,345 bytes" in caught.value.message
    assert "git lfs pull" in caught.value.hint


@pytest.mark.parametrize("name", ["model.pt", "model.safetensors", "model.pkl"])
def test_empty_file(name):
    with pytest.raises(UnknownFormatError) as caught:
        opened(b"", name)
    assert "empty" in caught.value.message


def test_file_of_zeros():
    with pytest.raises(UnknownFormatError) as caught:
        opened(bytes(10_000))
    assert "zero" in caught.value.message


def test_unknown_bytes_are_shown():
    with pytest.raises(UnknownFormatError) as caught:
        opened(b"\x01\x02\xfe\xff\x00\x99" * 9, "model.bin")
    assert "01 02 fe ff 00 99" in caught.value.message


def test_zip_of_code():
    with pytest.raises(UnknownFormatError) as caught:
        opened(zip_bytes([Entry("repo/model.py", b"import torch"), Entry("repo/train.py", b"")]), "model.pt")
    assert "Python source code" in caught.value.message


def test_truncated_safetensors_is_not_called_foreign():
    from tests.builders.samples import SAMPLES

    with pytest.raises(Exception, match="header"):
        opened(SAMPLES["plain.safetensors"][:100], "model.safetensors")


def test_text_in_other_encodings_is_no_text():
    assert recognise(b"caf\xe9 au lait\n" * 20) is None


def test_character_cut_at_the_end_is_still_text():
    assert recognise(("é" * 2_048).encode()[:4_095]) is not None
