"""safetensors headers and shard indexes that ask for much."""

from __future__ import annotations

import json

from tests.builders.safetensors_file import entry, header_bytes, raw_bytes, safetensors_bytes


def test_absurd_header_length(bounded):
    assert bounded(b"\xff" * 7 + b"\x7f{" + bytes(100), "bomb.safetensors").code == 3
    assert bounded(header_bytes("{}", length=1 << 40), "bomb.safetensors").code == 3


def test_header_above_the_limit(bounded):
    found = bounded(raw_bytes("{" + " " * (33 << 20) + "}"), "bomb.safetensors")
    assert found.code == 3
    assert "header bytes" in found.err


def test_header_of_spaces(bounded):
    assert bounded(raw_bytes("{" + " " * (31 << 20) + "}"), "bomb.safetensors").code == 0


def test_many_tensors_in_a_header(bounded):
    header = {f"a\\{number}": entry("U8", [0], 0, 0) for number in range(150_000)}
    assert bounded(raw_bytes(header), "bomb.safetensors").code == 0


def test_more_tensors_than_the_limit(bounded):
    header = json.dumps({f"{number}": 0 for number in range(500_000)}).replace(
        ": 0", ':{"dtype":"U8","shape":[0],"data_offsets":[0,0]}'
    )
    found = bounded(raw_bytes(header), "bomb.safetensors")
    assert found.code == 3


def test_shape_of_a_million_dimensions(bounded):
    """The product of a million extents is a number of a million bytes: multiplying it out takes minutes."""
    assert bounded(raw_bytes({"w": entry("U8", [251] * 4_000_000, 0, 0)}), "bomb.safetensors").code == 3


def test_many_dimensions_of_nothing(bounded):
    bounded(raw_bytes({"w": entry("U8", [0] + [251] * 2_000_000, 0, 0)}), "bomb.safetensors")


def test_deeply_nested_json(bounded):
    assert bounded(raw_bytes('{"w":' + "[" * 1_000_000 + "]" * 1_000_000 + "}"), "bomb.safetensors").code == 3
    assert bounded(raw_bytes('{"w":{"x":' + "[" * 1_000_000 + "]" * 1_000_000 + "}}"), "bomb.safetensors").code == 3


def test_number_of_many_digits(bounded):
    digits = "9" * 10_000_000
    header = '{"w":{"dtype":"U8","shape":[' + digits + '],"data_offsets":[0,0]}}'
    assert bounded(raw_bytes(header), "bomb.safetensors").code == 3


def test_much_metadata(bounded):
    metadata = {f"key {number}": "value" for number in range(300_000)}
    assert bounded(safetensors_bytes({"w": ("F32", (2,))}, metadata), "bomb.safetensors").code == 0


def test_index_of_many_names(bounded, tmp_path):
    (tmp_path / "m").write_bytes(safetensors_bytes({"w": ("F32", (2,))}))
    index = '{"weight_map":{' + ",".join(f'"{number:x}":"m"' for number in range(4_500_000)) + "}}"
    bounded(index.encode(), "m.safetensors.index.json")


def test_shard_count_in_a_name_is_a_claim(bounded):
    found = bounded(safetensors_bytes({"w": ("F32", (2,))}), "model-00001-of-99999.safetensors")
    assert found.code == 3
    assert found.printed < 1 << 20
