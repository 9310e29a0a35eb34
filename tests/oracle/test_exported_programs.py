"""Programs that torch itself exports are safe; a name in one of them that is code runs when torch loads it, and is found."""

from __future__ import annotations

import collections
import io
import json
import subprocess
import sys
import zipfile

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from tests.builders.zip_archive import Entry, zip_bytes  # noqa: E402
from tests.scanned import codes, scanned  # noqa: E402

DYNAMIC = torch.export.Dim.AUTO
ROWS = torch.ones(6, 4)


class Sizes(nn.Module):
    """Guards of sizes, and symbols."""

    def forward(self, x, y):
        if x.shape[0] % 2 == 0 and x.shape[0] * x.shape[1] != 77:
            x = x + 1
        return torch.cat([x, y]).reshape(-1, 2), x.shape[0] // 3


class Odd(nn.Module):
    """Names of modules and of arguments that are no words, and that schemas use too."""

    def __init__(self):
        super().__init__()
        names = ("a-b", "en->de", "layer 1", "größe", "0", "a/b", "it's", "a(b)", "a:b", "#")
        self.parts = nn.ModuleDict({name: nn.Linear(4, 4) for name in names})
        self.scales = nn.ParameterDict({"w-1": nn.Parameter(torch.ones(4))})

    def forward(self, input, target, name):
        for part in self.parts.values():
            input = part(input)
        return input * self.scales["w-1"] + target + name


class Branches(nn.Module):
    """Graphs in a graph."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.register_buffer("count", torch.zeros(1))

    def forward(self, x, *, mask=None):
        self.count.add_(1)
        return torch.cond(x.sum() > 0, lambda y: self.layer(y), lambda y: y.cos(), (x,)), (mask & mask) | ~mask


class Nested(nn.Module):
    def forward(self, d, *rest, mode="mean", scale=0.5):
        found = collections.OrderedDict(a=d["pixel-values"] + d["b c"][0] * scale + rest[0])
        found["b"] = torch.vmap(lambda row: row.sin() * 2)(found["a"]) if mode == "mean" else None
        return found


PROGRAMS = {
    "sizes": lambda: (Sizes(), (ROWS, torch.ones(8, 4)), {}, ({0: DYNAMIC, 1: DYNAMIC}, {0: DYNAMIC, 1: DYNAMIC})),
    "odd": lambda: (Odd(), (ROWS, ROWS, ROWS), {}, None),
    "branches": lambda: (Branches(), (ROWS,), {"mask": ROWS > 0}, None),
    "nested": lambda: (Nested(), ({"pixel-values": ROWS, "b c": (ROWS,)}, ROWS), {"mode": "mean", "scale": 0.5}, None),
    "encoder": lambda: (nn.TransformerEncoderLayer(8, 2, 16).eval(), (torch.ones(5, 2, 8),), {}, ({0: DYNAMIC, 1: DYNAMIC},)),
    "recurrent": lambda: (nn.LSTM(4, 5, bidirectional=True), (torch.ones(3, 2, 4),), {}, None),
}


def exported(name):
    module, args, kwargs, shapes = PROGRAMS[name]()
    kept = io.BytesIO()
    torch.export.save(torch.export.export(module, args, kwargs, dynamic_shapes=shapes), kept)
    return kept.getvalue()


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_torch_exports_is_safe(name):
    safety = scanned(exported(name), "m.pt2")
    assert (safety.verdict, codes(safety), safety.unseen) == ("safe", set(), [])


def test_a_name_that_runs(tmp_path):
    fired, entries = tmp_path / "fired", []
    code = f"y=open({str(fired)!r},'w').write('x')"
    with zipfile.ZipFile(io.BytesIO(exported("sizes"))) as archive:
        for member in archive.namelist():
            data = archive.read(member)
            entries.append(Entry(member, data.replace(b'"y"', json.dumps(code).encode()) if "/models/" in member else data, align=64))
    path = tmp_path / "m.pt2"
    path.write_bytes(zip_bytes(entries))
    said = scanned(path.read_bytes(), "m.pt2")
    assert (said.verdict, codes(said)) == ("dangerous", {"export-code"})
    subprocess.run([sys.executable, "-c", f"import torch; torch.export.load({str(path)!r})"], capture_output=True, check=False)
    assert fired.exists()
