"""What is found under a model's name and is none: one line each, exit code 3, and the models beside it are shown."""

from __future__ import annotations

from tests.builders.samples import SAMPLES
from tests.builders.zip_archive import Entry, zip_bytes

FOREIGN = {
    "pointer.safetensors": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n",
    "page.bin": b"<!DOCTYPE html>\n<html><body>Sign in</body></html>",
    "picture.pt": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    "notes.pth": b"just some words\n",
    "config.bin": b'{"hidden_size": 8}',
    "source.pt": zip_bytes([Entry("repo/model.py", b"import torch"), Entry("repo/train.py")]),
    "empty.ckpt": b"",
    "zeros.pt": bytes(4_096),
    "noise.bin": bytes(range(1, 256)) * 9,
    "half.pt": SAMPLES["state_dict.pt"][:1_200],
    "half.safetensors": SAMPLES["plain.safetensors"][:300],
    "half.pkl": SAMPLES["bare.pkl"][:100],
}


def test_each_is_told_in_a_line(inspect, tmp_path):
    for name, data in FOREIGN.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "model.pt").write_bytes(SAMPLES["state_dict.pt"])
    done = inspect(*(tmp_path / name for name in [*FOREIGN, "model.pt"]))
    assert done.returncode == 3
    lines = done.stderr.splitlines()
    assert len(lines) == len(FOREIGN)
    assert all(line.startswith("mscope: ") for line in lines)
    for name in FOREIGN:  # an archive is looked into before anything is read
        assert sum(f"/{name}: " in line for line in lines) == 1, name
    assert "embed" in done.stdout
