"""The files that scanners are compared on: published attacks, tricks of containers, and honest files.

None of the attacks is ever loaded. They come from the builders of the tests, where each has its source; what they would do is
create a file of a known name in the current folder, and the comparison looks that it never appears.
"""

from __future__ import annotations

import lzma
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).parent.parent
sys.path.insert(0, str(REPOSITORY))

from tests.builders.attacks import ATTACKS, GRAPHS, HARMLESS_NAMES, LET_THROUGH, SYSTEM  # noqa: E402
from tests.builders.gguf_file import gguf_bytes  # noqa: E402
from tests.builders.pickle_code import STOP, call, pickled, proto  # noqa: E402
from tests.builders.samples import SAMPLES  # noqa: E402
from tests.builders.tar_file import TarEntry, tar_bytes  # noqa: E402
from tests.builders.torch_code import ordered, tensor  # noqa: E402
from tests.builders.torch_file import torch_entries, torch_zip_bytes  # noqa: E402
from tests.builders.zip_archive import Entry, zip_bytes  # noqa: E402

EVIL = proto() + SYSTEM + STOP
GOOD = torch_entries(ordered({"w": tensor()}), {"0": 24})
PICKLES, NAMES, CONTAINERS, OPERATORS, HONEST = "ways to call", "names to call", "containers", "operators", "honest"


class Subject(NamedTuple):
    """A file to judge: its group, what it is, the name it gets, its bytes, and where the attack was published."""

    group: str
    what: str
    file: str
    data: bytes
    source: str = ""


def subjects() -> Iterator[Subject]:
    for what, (data, _, source) in {**ATTACKS, **HARMLESS_NAMES}.items():
        yield Subject(PICKLES, what, "model.pkl", data, source)
    for module, name, source in LET_THROUGH:
        data = proto(4) + call(f"{module}.{name}", "x") + STOP if "." not in name else dotted(module, name)
        yield Subject(NAMES, f"{module}.{name}", "model.pkl", data, source)
    yield from containers()
    for what, (file, data, _, source) in GRAPHS.items():
        yield Subject(OPERATORS, what, file, data, source)
    for name, data in SAMPLES.items():
        yield Subject(HONEST, name, name, data)


def dotted(module: str, name: str) -> bytes:
    """A name with a dot in it is reached by STACK_GLOBAL."""
    strings = b"".join(b"\x8c" + bytes([len(part)]) + part.encode() for part in (module, name))
    return proto(4) + strings + b"\x93(X\x01\x00\x00\x00xtR" + STOP


def containers() -> Iterator[Subject]:
    evil = Entry("archive/data.pkl", EVIL)
    array = b"\x93NUMPY\x01\0\x3e\0" + b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(61) + b"\n" + EVIL
    claimed = torch_entries(ordered({"w": tensor("0", (len(array),), "ByteStorage")}), {"0": array})
    compressed = [entry._replace(deflate="/data/" in entry.name) for entry in claimed]
    rows = (
        ("data.pkl of a torch zip", "model.pt", zip_bytes([evil, *GOOD[1:]]), ""),
        ("another pickle in a torch zip", "model.pt", zip_bytes([*GOOD, Entry("archive/extra.pkl", EVIL)]), ""),
        ("a pickle under another suffix in it", "model.pt", zip_bytes([*GOOD, Entry("archive/notes.txt", EVIL)]), "CVE-2025-1889"),
        ("a pickle under another suffix", "model.txt", EVIL, "CVE-2025-1889"),
        ("the local header has another name", "model.pt", zip_bytes([evil._replace(local_name="archive/data.pkx"), *GOOD[1:]]), "CVE-2025-1944"),
        ("marked as encrypted", "model.pt", zip_bytes([evil._replace(flags=1), *GOOD[1:]]), "CVE-2025-1945"),
        ("a wrong checksum", "model.pt", zip_bytes([evil._replace(crc=12345), *GOOD[1:]]), "CVE-2025-10156"),
        ("a member that stands twice", "model.pt", zip_bytes([*GOOD, evil]), ""),
        ("a member that no directory lists", "model.pt", zip_bytes(GOOD, prefix=zip_bytes([evil])[: len(EVIL) + 46]), ""),
        ("a second directory, in the comment", "model.pt", zip_bytes(GOOD, comment=zip_bytes([evil])), ""),
        ("a zip in a zip", "models.zip", zip_bytes([Entry("a.zip", zip_bytes([evil]))]), ""),
        ("an old tar of torch", "old.tar", tar_bytes([TarEntry("sys_info", pickled({})), TarEntry("pickle", EVIL)]), "CVE-2025-32434"),
        ("the second file of a .distcp", "__0_0.distcp", torch_zip_bytes(tensor("0", (2,)), {"0": 8}) + zip_bytes([evil]), ""),
        ("objects in a storage that is compressed", "model.npz", zip_bytes(compressed), ""),
        ("an xz stream that goes on as LZMA", "model.joblib", lzma.compress(EVIL[:9]) + lzma.compress(EVIL[9:], lzma.FORMAT_ALONE), ""),
        ("a last line without its end", "model.joblib", b"(S'true'\niposix\nsystemX", ""),
        ("a chat template", "model.gguf", gguf_bytes({}, {"tokenizer.chat_template": TEMPLATE}), "CVE-2024-34359"),
    )  # fmt: skip
    for what, file, data, source in rows:
        yield Subject(CONTAINERS, what, file, data, source)


TEMPLATE = "{{ ''.__class__.__mro__[1].__subclasses__() }}"
