"""Archives that show different things to different programs, code in text form, and what else is looked at by content."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import struct
import zipfile
import zlib

import pytest

from modelscope_cli.core.limits import DEFAULT_LIMITS
from tests.builders.archives import PACKERS
from tests.builders.attacks import SYSTEM
from tests.builders.gguf_file import gguf_bytes
from tests.builders.pickle_code import STOP, call, instance, pickled, proto
from tests.builders.safetensors_file import safetensors_bytes
from tests.builders.samples import SAMPLES
from tests.builders.script_file import class_text, script_bytes, script_module
from tests.builders.tar_file import TarEntry, tar_bytes
from tests.builders.torch_code import ordered, tensor
from tests.builders.torch_file import torch_entries, torch_zip_bytes
from tests.builders.zip_archive import Entry, zip_bytes
from tests.command import mscope
from tests.scanned import codes, paths, scanned

EVIL = proto() + SYSTEM + STOP
GOOD = torch_entries(ordered({"w": tensor()}), {"0": 24})
HEADER = b"\x93NUMPY\x01\x00"


def npy(descr: str, data: bytes) -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': (1,), }}".encode()
    return HEADER + struct.pack("<H", len(header)) + header + data


def test_a_good_archive_has_no_signs():
    assert codes(scanned(zip_bytes(GOOD))) == set()
    assert codes(scanned(zip_bytes([entry._replace(zip64=True) for entry in GOOD], zip64=True))) == set()
    assert codes(scanned(zip_bytes([entry._replace(descriptor=True) for entry in GOOD]))) == set()


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"local_name": "archive/data.pkx"}, "zip-headers-differ"),  # CVE-2025-1944
        ({"flags": 1}, "zip-encrypted-flag"),  # CVE-2025-1945
        ({"flags": 0x2000}, "zip-encrypted-flag"),
        ({"flags": 0x20}, "zip-headers-differ"),
        ({"local_flags": 0x40}, "zip-encrypted-flag"),
        ({"crc": 12345}, "zip-crc"),  # CVE-2025-10156
    ],
)
def test_headers_that_lie(changed, code):
    entries = [GOOD[0]._replace(**changed), *GOOD[1:]]
    if changed == {"flags": 0x20}:
        entries[0] = entries[0]._replace(local_flags=0)
    safety = scanned(zip_bytes(entries))
    assert code in codes(safety)
    assert safety.verdict == "suspicious"


def test_a_checksum_left_out_is_no_sign():
    assert codes(scanned(zip_bytes([entry._replace(crc=0) for entry in GOOD]))) == set()


def test_a_member_that_stands_twice():
    safety = scanned(zip_bytes([*GOOD, Entry("archive/data.pkl", EVIL)]))
    assert (safety.verdict, "zip-duplicate" in codes(safety)) == ("dangerous", True)
    same = scanned(zip_bytes([*GOOD, Entry("archive/DATA.PKL", pickled({}))]))
    assert "zip-duplicate" in codes(same)


def test_a_member_that_no_directory_lists():
    """Programs that read a stream go by the local headers."""
    hidden = zip_bytes([Entry("archive/data.pkl", EVIL)])
    hidden = hidden[: hidden.index(b"PK\x01\x02")]
    safety = scanned(zip_bytes(GOOD, prefix=hidden))
    assert {"zip-hidden-member", "zip-prefix"} <= codes(safety)
    assert safety.verdict == "dangerous"


def test_two_directories():
    """The comment of an archive is a whole archive: which one a program opens depends on where it begins to look."""
    safety = scanned(zip_bytes(GOOD, comment=zip_bytes([Entry("archive/data.pkl", EVIL)])))
    assert safety.verdict == "dangerous"


def test_names_that_leave_the_folder():
    for name in ("../../etc/x", "/etc/x", "C:/x", "a\\b", "a\0b"):
        assert "zip-name" in codes(scanned(zip_bytes([*GOOD, Entry(name, b"text")]))), name


def test_storages_that_read_as_a_pickle_are_data():
    """torch unpickles none of the bytes of a storage that data.pkl refers to; what else opens them goes by their first bytes."""
    for data in (proto(4) + b"]\x94K\x01a.", EVIL):
        held = torch_zip_bytes(ordered({"w": tensor("0", (64,), "ByteStorage")}), {"0": data.ljust(64, b"\0")})
        assert (scanned(held).verdict, codes(scanned(held))) == ("safe", set())
    stray = torch_zip_bytes(ordered({"w": tensor("0")}), {"0": 24, "1": EVIL})
    assert scanned(stray).verdict == "dangerous"


def test_archives_in_archives():
    inner = zip_bytes([Entry("deep/data.pkl", EVIL)])
    for outer in (
        zip_bytes([Entry("a.zip", inner)]), zip_bytes([Entry("a.bin", inner, deflate=True)]), tar_bytes([TarEntry("a.zip", inner)]),
        gzip.compress(tar_bytes([TarEntry("a/b.zip", inner)])), bz2.compress(inner), lzma.compress(inner), zlib.compress(inner),
    ):  # fmt: skip
        safety = scanned(outer, "model.bin")
        assert safety.verdict == "dangerous", outer[:4]
        assert next(item.where for item in safety.imports).endswith("deep/data.pkl")


def test_archives_in_archives_without_end():
    data = EVIL
    for _ in range(30):
        data = zip_bytes([Entry("next", data)])
    safety = scanned(data)
    assert safety.verdict != "safe"
    assert any("in one another" in one.why for one in safety.unseen)


def test_a_bomb_is_not_looked_at_and_not_safe():
    safety = scanned(zip_bytes([*GOOD, Entry("extra.pkl", bytes(80 << 20), deflate=True)]))
    assert safety.verdict in ("safe", "unknown")
    bomb = scanned(zip_bytes([*GOOD, Entry("extra.pkl", b"\x80\x02" + bytes(80 << 20), deflate=True)]))
    assert bomb.verdict == "unknown"
    assert [one.where for one in bomb.unseen] == ["extra.pkl"]


def test_polyglots():
    """A zip behind another file: programs that look at the end open that."""
    behind = zip_bytes([Entry("archive/data.pkl", EVIL)])
    for first, name in (
        (SAMPLES["plain.safetensors"], "a.safetensors"),
        (pickled({}), "a.pkl"),
        (b"\x7fELF" + bytes(60), "a.bin"),
    ):
        safety = scanned(first + behind, name)
        assert "polyglot" in codes(safety), name
        assert safety.verdict == "dangerous", name


def test_arrays_of_objects():
    numbers = scanned(npy("'<f8'", bytes(8)), "a.npy")
    assert not numbers.scanned.streams
    for descr in ("'|O'", "'O'", "[('a', '<f4'), ('b', '|O')]"):
        objects = scanned(npy(descr, EVIL), "a.npy")
        assert (objects.verdict, "object-array" in codes(objects)) == ("dangerous", True)
    inside = scanned(
        zip_bytes([Entry("a.npy", npy("'<f8'", bytes(8))), Entry("b.npy", npy("'|O'", EVIL), deflate=True)]), "a.npz"
    )
    assert inside.verdict == "dangerous"


@pytest.mark.parametrize(
    "descr",
    ["'|\\x4f'", "'O,i4'", "'1O'", "'i4, object'", "'|' 'O'", "b'|O'", "('|O', (1,))", "[('x', [('y', '<f4'), ('z', '|O', (2,))])]", "{'a': 1}"],
)
def test_types_that_numpy_takes_for_objects(descr):
    for data in (npy(descr, EVIL), npy(descr + " " * 40_000, EVIL), npy(" " * 400 + descr, EVIL)):
        assert scanned(data, "a.npy").verdict == "dangerous"
        assert scanned(zip_bytes([Entry("a.npy", data)]), "a.npz").verdict == "dangerous"
        assert scanned(zip_bytes([Entry("version", data)]), "a.npz").verdict == "dangerous"
        assert scanned(gzip.compress(data), "a.npy.gz").verdict == "dangerous"
    assert scanned(npy(descr, b"\xfc" * 99), "a.npy").verdict == "unknown"


def test_headers_of_arrays_that_are_long():
    fields = ", ".join(f"('field{number}', '<f4')" for number in range(3_000))
    for version, objects in ((2, False), (2, True), (3, True)):
        listed = f"[{fields}, ('o', '|O')]" if objects else f"[{fields}]"
        header = f"{{'descr': {listed}, 'fortran_order': False, 'shape': (1,), }}".encode()
        data = b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<I", len(header)) + header
        data += EVIL if objects else bytes(12_000)
        assert scanned(data, "a.npy").verdict == ("dangerous" if objects else "safe")


def test_arrays_of_every_plain_type_are_safe():
    for descr in ("'<f4'", "'|b1'", "'<U7'", "'|S3'", "'|V8'", "'<M8[ns]'", "'<c16'", "[('O', '<f4'), ('b', '<i8', (2,))]", "[(('t', 'n'), '<i2')]"):
        safety = scanned(npy(descr, bytes(64)), "a.npy")
        assert (safety.verdict, codes(safety)) == ("safe", set()), descr
    assert scanned(npy("'<f8'", bytes(7)), "a.npy").verdict == "unknown"


@pytest.mark.parametrize(
    "header", ["(" * 5_000, "{'descr': " + "[" * 5_000, "-" * 9_000, "{'descr': '<f4', 'shape': (" + "9" * 20 + "," + "9," * 20_000 + ")}"]
)
def test_a_header_that_is_no_header(header):
    data = b"\x93NUMPY\x02\0" + struct.pack("<I", len(header)) + header.encode() + EVIL
    assert scanned(data, "a.npy").verdict == "dangerous"


def zfile(data: bytes, blank: bytes = b"") -> bytes:
    """As joblib before 0.10 wrote them."""
    return b"ZF" + f"{len(data):#x}".ljust(19).encode() + blank + zlib.compress(data)


def alone(data: bytes, **how: int) -> bytes:
    return lzma.compress(data, lzma.FORMAT_ALONE, filters=[{"id": lzma.FILTER_LZMA1, **how}])


@pytest.mark.parametrize(
    "pack",
    [
        *[lambda data, level=level: zlib.compress(data, level) for level in (0, 1, 3, 6, 9)],
        *[lambda data, preset=preset: lzma.compress(data, lzma.FORMAT_ALONE, preset=preset) for preset in (0, 3, 6, 8)],
        lambda data: alone(data, dict_size=1 << 12),
        lambda data: alone(data, dict_size=3 << 20, lc=0, lp=2, pb=1),
        zfile,
        lambda data: zfile(data, b" "),
    ],
)
def test_whatever_joblib_compresses(pack):
    assert scanned(pack(EVIL), "m.joblib").verdict == "dangerous"
    assert scanned(pack(EVIL)[:-3], "m.joblib").verdict == "dangerous"
    assert scanned(zip_bytes([Entry("m.joblib", pack(EVIL))]), "m.zip").verdict == "dangerous"
    assert scanned(pack(pickled({})), "m.joblib").verdict == "safe"


@pytest.mark.parametrize("head", [b"\x04\x22\x4d\x18", b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07\0", b"LZIP\x01"])
def test_what_cannot_be_unpacked_is_not_safe(head):
    for safety in (scanned(head + bytes(99), "m.joblib"), scanned(zip_bytes([*GOOD, Entry("archive/x", head + bytes(99))]))):
        assert (safety.verdict, [one.minor for one in safety.unseen]) == ("unknown", [False])


def test_lzma_that_needs_too_much_memory_is_not_safe():
    data = alone(EVIL, dict_size=1 << 12)
    for dictionary in (1 << 30, 0xFFFFFFFF):
        safety = scanned(data[:1] + struct.pack("<I", dictionary) + data[5:], "m.joblib")
        assert (safety.verdict, [one.minor for one in safety.unseen]) == ("unknown", [False])


def test_one_kind_of_sign_does_not_keep_out_another():
    config = json.dumps({"class_name": "Lambda", "config": {"function": ["4wEAAA"]}}).encode()
    many = [Entry(f"../{number}", b"text") for number in range(2_100)]
    safety = scanned(zip_bytes([*many, Entry("config.json", config)]), "m.keras")
    assert safety.verdict == "dangerous"
    assert any("1,900 more of this kind" in str(found.message) for found in safety.found)


@pytest.mark.parametrize("name", ["a.pkl", "a.pt", "a.bin"])
def test_a_pickle_that_begins_as_another_file(name):
    """A frame of zstd that decompressors skip, and the header of a tar, both inside a text that the pickle drops."""
    call = b"cposix\nsystem\n(S'id'\ntR."
    frame = b"U*" + (b"M\x18" + struct.pack("<I", 44 + 1 + len(call) - 8)).ljust(42, b"x") + b"0" + call
    header = tar_bytes([TarEntry("Vx", b"")])[:512]
    for data in (frame, header + b"\n0" + call + bytes(600)):
        assert scanned(data, name).verdict == "dangerous"
        assert paths(scanned(data, name)) == {"posix.system"}


TEMPLATES = {
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}{% endfor %}": "safe",
    "{% set ns = namespace(found=false) %}{{ bos_token + raise_exception('x') }}{{ messages | tojson }}": "safe",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}": "dangerous",  # CVE-2024-34359
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}": "dangerous",
    "{{ self._TemplateReference__context }}": "dangerous",
    "{{ (messages|attr('\\x5f\\x5fclass\\x5f\\x5f')) }}": "dangerous",
    "{{ lipsum.__globals__['os'] }}": "dangerous",
}


@pytest.mark.parametrize(("text", "verdict"), TEMPLATES.items())
def test_chat_templates(text, verdict):
    in_gguf = scanned(gguf_bytes({"w": ("F32", (1,))}, {"tokenizer.chat_template": text}), "m.gguf")
    in_json = scanned(json.dumps({"chat_template": text}).encode(), "tokenizer_config.json")
    several = scanned(json.dumps({"chat_template": [{"name": "tool", "template": text}]}).encode(), "tokenizer_config.json")
    alone = scanned(text.encode(), "chat_template.jinja")
    for safety in (in_gguf, in_json, several, alone):
        assert safety.verdict == verdict
        assert safety.scanned.texts[0][1] == text


def test_custom_code_is_named():
    config = {"auto_map": {"AutoModel": "modeling_x.XModel", "AutoTokenizer": ["tok_x.A", None]}}
    safety = scanned(json.dumps(config).encode(), "config.json")
    (found,) = safety.found
    assert (safety.verdict, found.code) == ("unknown", "custom-code")
    assert "modeling_x.py, tok_x.py" in str(found.message)


def test_lambda_layers():
    config = {"class_name": "Functional", "config": {"layers": [{"class_name": "Lambda", "config": {"function": ["4wEAAA"]}}]}}
    keras = zip_bytes([Entry("config.json", json.dumps(config).encode()), Entry("model.weights.h5", b"\x89HDF\r\n\x1a\n")])
    assert scanned(keras, "m.keras").verdict == "dangerous"
    assert scanned(b"\x89HDF\r\n\x1a\n" + bytes(500) + json.dumps(config).encode(), "m.h5").verdict == "dangerous"
    config["config"]["layers"][0]["class_name"] = "Dense"
    assert "keras-lambda" not in codes(scanned(b"\x89HDF\r\n\x1a\n" + json.dumps(config).encode(), "m.h5"))


def test_lambda_layers_behind_escapes():
    text = rb'[{"cl\u0061ss_name": "L\u0061mbda", "config": {}}]'
    assert scanned(zip_bytes([Entry("config.json", text)]), "m.keras").verdict == "dangerous"
    assert scanned(b"\x89HDF\r\n\x1a\n" + text, "m.h5").verdict == "suspicious"
    assert scanned(b"\x89HDF\r\n\x1a\n" + json.dumps(["é\x01", "a"]).encode(), "m.h5").verdict == "safe"


def test_torchscript_is_told_and_its_files_are_suspicious():
    plain = scanned(script_bytes(script_module("nn.Net", {}), {}, {"nn": class_text("Net", [], [])}))
    assert (plain.verdict, "torchscript" in codes(plain)) == ("safe", True)
    code = class_text("Net", [], []) + "  def forward(self):\n    torch.save(self.x, '/etc/x')\n"
    assert "script-files" in codes(scanned(script_bytes(script_module("nn.Net", {}), {}, {"nn": code})))
    code = class_text("Net", [], []) + "  def forward(self):\n    return ops.evil.run(self.x)\n"
    assert "script-operators" in codes(scanned(script_bytes(script_module("nn.Net", {}), {}, {"nn": code})))


def test_tars():
    evil = [
        TarEntry("sys_info", pickled({})),
        TarEntry("pickle", EVIL),
        TarEntry("storages", pickled(0)),
        TarEntry("tensors", pickled(0)),
    ]
    assert scanned(tar_bytes(evil), "old.tar").verdict == "dangerous"  # CVE-2025-32434
    twice = [TarEntry("pickle", EVIL), TarEntry("pickle", pickled({}))]
    assert {"tar-duplicate"} <= codes(scanned(tar_bytes(twice), "old.tar"))
    later = pickled(1) + bytes(40) + EVIL
    assert scanned(tar_bytes([TarEntry("storages", later), *evil[:1], *evil[3:]]), "old.tar").verdict == "dangerous"
    links = [TarEntry("a", b"", b"2", link="/etc/passwd"), TarEntry("../b", b"x")]
    assert {"tar-link", "tar-name"} <= codes(scanned(tar_bytes(links), "a.tar"))


def test_links_in_a_tar_that_lead_to_its_files():
    inside = [
        TarEntry("blobs/x", pickled({})),
        TarEntry("snap/m.pt", b"", b"2", link="../blobs/x"),
        TarEntry("h", b"", b"1", link="blobs/x"),
    ]
    assert "tar-link" not in codes(scanned(tar_bytes(inside), "a.tar"))
    for way_out in ("../../x", "/blobs/x", "blobs", "../snap/m.pt"):
        outside = [*inside[:1], TarEntry("snap/m.pt", b"", b"2", link=way_out)]
        assert "tar-link" in codes(scanned(tar_bytes(outside), "a.tar")), way_out


@pytest.mark.parametrize(
    "pack", [*PACKERS.values(), zlib.compress, lambda data: lzma.compress(data, lzma.FORMAT_ALONE, preset=6)]
)
def test_what_is_compressed_is_judged(pack):
    tar = tar_bytes([TarEntry("m/model.safetensors", safetensors_bytes({"w": ("F32", (2,))})), TarEntry("m/a.json", b"{}")])
    assert scanned(pack(tar), "m.tar.gz").verdict == "safe"
    assert scanned(pack(tar_bytes([TarEntry("m/x", EVIL)])), "m.tar.gz").verdict == "dangerous"
    assert scanned(pack(b"\0\xff\1" * 99), "m.gz").verdict is None


@pytest.mark.parametrize("pack", PACKERS.values())
def test_streams_one_behind_another_are_one(pack):
    assert scanned(pack(EVIL[:9]) + pack(EVIL[9:]), "m.gz").verdict == "dangerous"


def test_what_follows_a_compressed_stream():
    assert scanned(gzip.compress(b"text\n") + EVIL, "m.gz").verdict == "dangerous"
    followed = scanned(gzip.compress(safetensors_bytes({"w": ("F32", (2,))})) + b"\xfc\xfd" * 9, "m.gz")
    assert (followed.verdict, [one.minor for one in followed.unseen]) == ("unknown", [False])


@pytest.mark.parametrize("kinds", [(lzma.FORMAT_XZ, lzma.FORMAT_ALONE), (lzma.FORMAT_ALONE, lzma.FORMAT_XZ)])
def test_streams_of_both_kinds_of_lzma_are_one(kinds):
    """As lzma.open reads them, and so joblib, pandas and tarfile."""
    for cut in (9, 600):
        for whole in (EVIL, tar_bytes([TarEntry("m/x", EVIL)])):
            first, second = (lzma.compress(part, kind, preset=0) for part, kind in zip((whole[:cut], whole[cut:]), kinds, strict=True))
            packed = first + second
            assert lzma.decompress(packed) == whole
            assert scanned(packed, "m.xz").verdict == "dangerous"


@pytest.mark.parametrize("flags", [0x20, 0xE0, 0x02, 0x1E, 0xFF])
def test_headers_of_gzip_that_only_some_programs_take(flags):
    """Python's gzip looks at no flag without a meaning, and at no checksum of a header."""
    extra = (b"\3\0abc" if flags & 4 else b"") + (b"name\0" if flags & 8 else b"") + (b"why\0" if flags & 16 else b"") + (b"ab" if flags & 2 else b"")
    packed = gzip.compress(EVIL, mtime=0)
    packed = packed[:3] + bytes((flags,)) + packed[4:10] + extra + packed[10:]
    assert gzip.decompress(packed) == EVIL
    assert scanned(packed, "m.gz").verdict == "dangerous"
    assert scanned(packed[:12] if flags & 4 else packed[:10], "m.gz").verdict != "safe"


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-9], lambda data: data[:-4] + b"abcd", lambda data: data[:-8] + bytes(8)]
)
@pytest.mark.parametrize("size", [0, 1, 100, 9_000, 100_000])
def test_damage_hides_nothing_that_comes_before_it(damage, size):
    data = gzip.compress(EVIL + bytes(range(256)) * (size // 256) + bytes(size % 256), compresslevel=1)
    safety = scanned(damage(data), "m.gz")
    assert safety.verdict == "dangerous"
    assert safety.unseen


def test_a_compressed_bomb_hides_nothing_either():
    safety = scanned(gzip.compress(EVIL + bytes(1 << 20)), "m.gz", DEFAULT_LIMITS._replace(unpacked_bytes=1 << 19))
    assert safety.verdict == "dangerous"
    assert any("unpacked bytes" in one.why for one in safety.unseen)


def test_every_blob_of_a_distcp():
    blobs = torch_zip_bytes(tensor("0", (2,)), {"0": 8}) + zip_bytes([Entry("archive/data.pkl", EVIL)])
    blobs += torch_zip_bytes(tensor("0", (2,)), {"0": 8})
    safety = scanned(blobs, "__0_0.distcp")
    assert safety.verdict == "dangerous"
    good = torch_zip_bytes(tensor("0", (2,)), {"0": 8})
    assert scanned(good * 3, "__0_0.distcp").verdict == "safe"


def test_a_record_by_name_is_looked_at_by_content():
    """Torch's short records are numbers and words; a pickle may be shorter than they are."""
    for name in ("version", "byteorder", "archive/version", "archive/.format_version"):
        assert scanned(zip_bytes([Entry(name, EVIL)])).verdict == "dangerous", name
        assert scanned(zip_bytes([*GOOD, Entry(name, EVIL)])).verdict == "dangerous", name


def test_what_begins_with_noughts_may_end_as_something():
    inner = zip_bytes([Entry("deep/data.pkl", EVIL)])
    for outer in (zip_bytes([Entry("a", bytes(600) + inner)]), tar_bytes([TarEntry("a", bytes(600) + inner)]), bytes(600) + inner):
        assert scanned(outer, "model.bin").verdict == "dangerous"


@pytest.mark.parametrize("stub", [b"MZ" + bytes(70), b"#!/bin/sh\n", b"\0" * 700, bytes(9 << 20)])
@pytest.mark.parametrize("behind", [b"", b"x", bytes(1_000), bytes(60_000)])
def test_a_zip_with_a_stub_and_more_behind(stub, behind):
    """Python's zipfile opens it: the last end record counts, whatever stands around the archive."""
    data = stub + zip_bytes([Entry("deep/data.pkl", EVIL)]) + behind
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.read("deep/data.pkl") == EVIL
    assert scanned(data, "model.bin").verdict == "dangerous"


def test_an_end_that_leads_nowhere_is_no_archive():
    assert scanned(b"\x01" * 5_000 + b"PK\x05\x06" + b"\x02" * 40, "model.bin").verdict is None


@pytest.mark.parametrize("at", [0, 512, 1024, 2048, 1 << 16])
def test_hdf5_behind_a_user_block(at):
    config = {"class_name": "Lambda", "config": {"function": ["4wEAAA"]}}
    data = bytes(at) + b"\x89HDF\r\n\x1a\n" + bytes(500) + json.dumps(config).encode()
    assert scanned(data, "m.h5").verdict == "dangerous"
    assert scanned(zip_bytes([Entry("m.h5", data)]), "m.zip").verdict == "dangerous"


def test_functions_of_tensorflow_are_no_code_but_some():
    for function, verdict in (("math.add", "safe"), ("io.read_file", "suspicious"), ("io.write_file", "dangerous")):
        layer = json.dumps({"class_name": "TFOpLambda", "config": {"name": "x", "function": function}}).encode()
        assert scanned(b"\x89HDF\r\n\x1a\n" + bytes(99) + layer, "m.h5").verdict == verdict
        assert scanned(zip_bytes([Entry("config.json", layer), Entry("w.h5", b"\x89HDF\r\n\x1a\n")]), "m.keras").verdict == verdict


@pytest.mark.parametrize(("descr", "verdict"), [
    ("('<i8', {'a': ('|O', 0)})", "dangerous"), ("('<i8', [('a', '|O')])", "dangerous"), ("[('a', '|V8', '|O')]", "dangerous"),
    ("('<i8', '|O')", "dangerous"), ("[('a', ('<i8', {'b': ('|O', 0)}))]", "dangerous"), ("('<i8', (1, '|O'))", "dangerous"),
    ("('<i8', (2,))", "safe"), ("('<i8', 2)", "safe"), ("[('a', '<i8', (2, 3)), (('title', 'b'), '<f4')]", "safe"), ("('<i8', True)", "dangerous"),
])  # fmt: skip
def test_types_that_numpy_does_not_write(descr, verdict):
    """What stands in the place of a shape may be a second type, by which the same bytes are objects."""
    assert scanned(npy(descr, EVIL), "a.npy").verdict == verdict


def test_tables_of_pandas_are_not_safe():
    assert scanned(b"\x89HDF\r\n\x1a\n" + bytes(99) + b"PYTABLES_FORMAT_VERSION", "m.h5").verdict == "unknown"


def test_safetensors_in_an_archive():
    good = safetensors_bytes({"w": ("F32", (2,))})
    assert scanned(zip_bytes([Entry("a.safetensors", good)]), "m.zip").verdict == "safe"
    assert scanned(zip_bytes([Entry("a.safetensors", good + b"x")]), "m.zip").verdict == "unknown"
    for behind in (EVIL, gzip.compress(EVIL)):
        assert scanned(good + behind, "a.safetensors").verdict == "dangerous"
        assert scanned(zip_bytes([Entry("a.safetensors", good + behind)]), "m.zip").verdict == "dangerous"


def test_storages_are_numbers_and_not_listed():
    stray = b"\xfc\xfd" * 400
    inside = torch_zip_bytes(ordered({"w": tensor("0")}), {"0": 24, "1": stray})
    for data in (inside, zip_bytes([Entry("m/a.pt", inside)]), tar_bytes([TarEntry("m/a.pt", inside)])):
        safety = scanned(data)
        assert (safety.verdict, safety.unseen) == ("safe", [])
    other = scanned(zip_bytes([*GOOD, Entry("elsewhere/data/0", EVIL)]))
    assert other.verdict == "dangerous"
    unknown = scanned(zip_bytes([*GOOD, Entry("archive/thing", stray), Entry("archive/thing", stray)]))
    assert [(one.where, one.minor) for one in unknown.unseen] == [("archive/thing", True)]


def test_only_the_folder_that_belongs_to_a_pickle_holds_its_storages():
    for other in ("tensors/0", "constants/0", ".data/0.storage", "bytecode/0", "xl_model_weights/0"):
        module = torch_entries(instance("torch.nn.modules.module.Module", {"weight": tensor()}), {"0": 24})
        data = zip_bytes([*module, Entry(f"archive/{other}", EVIL)])
        assert scanned(data).verdict == "dangerous", other
        assert scanned(zip_bytes([Entry("m/a.pt", data)])).verdict == "dangerous", other


@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("held", [npy("'|O'", EVIL), zip_bytes(torch_entries(call("os.system", "true"), {}))])
def test_a_storage_that_programs_open_by_its_beginning(held, deflate):
    root = ordered({"w": tensor("0", (len(held),), "ByteStorage")})
    entries = [entry._replace(deflate=deflate and "/data/" in entry.name) for entry in torch_entries(root, {"0": held})]
    assert scanned(zip_bytes(entries), "model.npz").verdict == "dangerous"
    assert scanned(zip_bytes([Entry("m/a.npz", zip_bytes(entries))])).verdict == "dangerous"


def test_an_archive_of_what_is_known_by_no_name_is_not_safe():
    stranger = b"\xfc\xfd" * 400
    assert scanned(zip_bytes([Entry("a.bin", stranger), Entry("LICENSE", b"text")]), "m.zip").verdict != "safe"
    assert scanned(tar_bytes([TarEntry("a.bin", stranger)]), "m.tar").verdict != "safe"
    assert scanned(zip_bytes([Entry("a.bin", stranger), Entry("m.pt", zip_bytes(GOOD))]), "m.zip").verdict == "safe"


def test_a_text_that_begins_as_zlib_does_is_a_text():
    for text in (b"x^2 + y^2 = z^2\n", b"x\x01 marks the spot\n"):
        safety = scanned(zip_bytes([Entry("notes", text), *GOOD]), "m.zip")
        assert (safety.verdict, safety.problem) == ("safe", None)


def test_offsets_count_from_the_member_that_is_named():
    """A pickle in a member: from its first byte; what is odd about an archive: from the archive's."""
    hidden = zip_bytes([Entry("archive/x.pkl", EVIL)])
    hidden = hidden[: hidden.index(b"PK\x01\x02")]
    data = zip_bytes(GOOD, prefix=hidden)
    (sign,) = [found for found in scanned(data).found if found.code == "zip-hidden-member"]
    assert (sign.where, data[sign.offset : sign.offset + 4]) == ("", b"PK\x03\x04")
    stub = b"MZ" + bytes(70)
    (sign,) = [found for found in scanned(stub + data, "a.exe").found if found.code == "zip-hidden-member"]
    assert (stub + data)[sign.offset : sign.offset + 4] == b"PK\x03\x04"
    (gap,) = [found for found in scanned(zip_bytes([Entry("m.zip", zip_bytes(GOOD, prefix=b"z" * 99))])).found if found.code == "zip-gap"]
    assert (gap.where, gap.offset) == ("m.zip", 0)
    later = pickled(1) + bytes(40) + EVIL
    found = scanned(tar_bytes([TarEntry("storages", later)]), "old.tar").imports[-1]
    assert (found.path, found.where, later[found.offset : found.offset + 6]) == ("posix.system", "storages", b"cposix")


@pytest.mark.parametrize("member", ["pickle", "storages", "tensors", "sys_info"])
def test_members_of_the_oldest_format_by_content(member):
    """torch unpickles them, in whatever tar they are; they may be something else as well."""
    inner = zip_bytes([Entry("deep/data.pkl", EVIL)])
    text = b"cos\nsystem\n(S'x'\ntR."
    for data in (inner, gzip.compress(EVIL), EVIL, text):
        assert scanned(tar_bytes([TarEntry(member, data), TarEntry("a.txt", b"text")]), "m.tar").verdict == "dangerous"
    if member in ("storages", "tensors"):
        for evil in (EVIL, text, b"(S'x'\nios\nsystem\n."):
            assert scanned(tar_bytes([TarEntry(member, pickled(1) + b"\xff" * 40 + evil)]), "m.tar").verdict == "dangerous"


def test_trailing_bytes_of_a_pickle():
    assert scanned(pickled({}) + bytes(20), "a.pkl").verdict == "safe"
    assert "after-stop" in codes(scanned(pickled({}) + b"\x00\x01\x02 rest", "a.pkl"))


def test_safetensors_is_safe():
    assert scanned(safetensors_bytes({"w": ("F32", (2,))}), "a.safetensors").verdict == "safe"
    assert scanned(safetensors_bytes({"w": ("F32", (2,))}) + b"x", "a.safetensors").verdict == "unknown"


@pytest.mark.parametrize(("text", "verdict"), [(b"", None), (b"  \n", None), (b"{not json", None), (b"[" * 200_000, "unknown"), (b'{"a": NaN}', None)])
def test_what_is_no_json(text, verdict):
    """What no program takes for JSON holds nothing that one would run; what nobody can follow might."""
    assert scanned(text, "config.json").verdict == verdict
    inside = scanned(zip_bytes([Entry("config.json", text), Entry("a/data.pkl", pickled({}))]), "model.zip")
    assert inside.verdict == ("unknown" if verdict == "unknown" else "safe")


@pytest.mark.parametrize("length", [0x50, 0x58, 0x28, 0x30, 0x80, 0x88, 0x90, 0x68, 0x70])
def test_the_length_of_a_safetensors_header_may_look_like_an_instruction(length, tmp_path):
    """A line without an end is no pickle: `P` reads to the next line end, and there is none in gigabytes of noughts."""
    header = b'{"weight":{"dtype":"U8","shape":[100000000],"data_offsets":[0,100000000]}}'.ljust(0x100 + length)
    path = tmp_path / "model.safetensors"
    with open(path, "wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + 100_000_000)
    done = mscope("scan", str(path))
    assert (done.code, "safe: loading it executes nothing" in done.out) == (0, True)


def test_a_line_that_ends_behind_a_hole_is_followed_or_told(tmp_path):
    """What begins like safetensors and goes on as a pickle far behind: in a hole nothing hides, and its end is found."""
    header = b'{"weight":{"dtype":"U8","shape":[100000000],"data_offsets":[0,100000000]}}'.ljust(0x150)
    path = tmp_path / "model.safetensors"
    with open(path, "wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.seek(8 + len(header) + 100_000_000 - 40)
        file.write(b"\ncos\nsystem\n(S'touch x'\ntR.".ljust(40))
    packed = tmp_path / "model.safetensors.gz"
    packed.write_bytes(gzip.compress(path.read_bytes(), 1))
    for each in (path, packed):
        done = mscope("scan", str(each))
        assert (done.code, "safe:" in done.out) == (3, False), each


PACKED = (
    lambda files: tar_bytes([TarEntry(name, data) for name, data in files]),
    lambda files: zip_bytes([Entry(name, data) for name, data in files]),
)


@pytest.mark.parametrize("pack", PACKED, ids=["tar", "zip"])
def test_an_archive_of_nothing_that_is_judged_is_not_judged(pack):
    assert scanned(pack([("notes.txt", b"only words\n")]), "plain.pth.tar").verdict is None
    assert scanned(pack([("notes.txt", b"only words\n"), ("m.safetensors", safetensors_bytes({"w": ("F32", (2,))}))]), "m.tar").verdict == "safe"
    assert scanned(pack([("config.json", b'{"a": 1}')]), "m.tar").verdict == "safe"
    assert scanned(pack([("notes.txt", b"only words\n"), ("a.pkl", EVIL)]), "m.tar").verdict == "dangerous"
