"""How long a tensor takes in each reader, and how long the format's own program takes for the same file.

    python benchmarks/readers.py          makes the files once (benchmarks/models/readers), writes readers.json and README.md
    python benchmarks/readers.py --quick  two pairs, nothing written

Both sides are timed inside a process that has imported what it needs, at their best of three: `read()` of ours against a
call that gives the names and shapes of all tensors, which for pickles means loading them. Nothing passes or fails here.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

from measure import RunError, median, once, quartiles
from reader_files import make

HERE = Path(__file__).parent
README, RESULTS = HERE / "README.md", HERE / "readers.json"
BEGIN, END = "<!-- readers -->", "<!-- /readers -->"

TIMED = """
import gc, sys, time
path = sys.argv[1]
{imports}
gc.disable()
best = 1e9
for _ in range(3):
    start = time.perf_counter()
    {call}
    best = min(best, time.perf_counter() - start)
print({count}, best)
"""
OURS = TIMED.format(imports="import modelscope_cli", call="found = modelscope_cli.read(path)", count="len(found.tensors)")

LOAD = "loaded = torch.load(path, weights_only=True)"
FOLDER = "loaded = [torch.load(part, weights_only=True) for part in sorted(glob.glob(path + '/*.p*t*'))]"
SAFE_OPEN = """parts = [path] if path.endswith('.safetensors') else sorted(glob.glob(path + '/*.safetensors'))
    for part in parts:
        with safe_open(part, 'pt') as file:
            for name in file.keys():
                shape = file.get_slice(name).get_shape()"""


class Case(NamedTuple):
    """A file of reader_files.py, and the call of the program it belongs to: its name, imports and the call itself."""

    reader: str
    file: str
    peer: str = ""
    imports: str = ""
    call: str = ""


CASES = (
    Case("safetensors", "state.safetensors", "safe_open, all shapes", "import glob\nfrom safetensors import safe_open", SAFE_OPEN),
    Case("sharded safetensors", "sharded", "safe_open, all shapes", "import glob\nfrom safetensors import safe_open", SAFE_OPEN),
    Case("PyTorch zip", "state.pt", "torch.load", "import torch", LOAD),
    Case("PyTorch legacy", "legacy.pt", "torch.load", "import torch", LOAD),
    Case("bare pickle of tensors", "bare.pkl", "pickle.load", "import pickle, torch", "loaded = pickle.load(open(path, 'rb'))"),
    Case("GGUF", "model.gguf", "gguf.GGUFReader", "import gguf", "loaded = gguf.GGUFReader(path)"),
    Case(
        "distributed (DCP)", "dcp", "FileSystemReader.read_metadata", "import torch.distributed.checkpoint as dcp",
        "loaded = dcp.FileSystemReader(path).read_metadata()",
    ),
    Case("tensor-parallel, 4 slices", "tensor_parallel", "torch.load of each", "import glob, torch", FOLDER),
    Case("DeepSpeed ZeRO", "deepspeed", "torch.load of each", "import glob, torch", FOLDER),
    Case("TorchScript", "scripted.pt", "torch.jit.load", "import torch", "loaded = torch.jit.load(path)"),
    Case("torch.export", "program.pt2", "torch.export.load", "import torch", "loaded = torch.export.load(path)"),
    Case(
        "torch.package", "package.pt", "PackageImporter.load_pickle", "import torch\nfrom torch.package import PackageImporter",
        "loaded = PackageImporter(path).load_pickle('model', 'model.pkl')",
    ),
    Case("torch tar", "old.tar", "torch.load", "import torch", "loaded = torch.load(path, weights_only=False)"),
)  # fmt: skip


def seconds(program: str, path: Path) -> tuple[int, float]:
    """(tensors, seconds) that a timed program prints last."""
    count, best = once([sys.executable, "-W", "ignore", "-c", program, str(path)], keep_output=True).output.split()[-2:]
    return int(count), float(best)


def measured(case: Case, folder: Path, pairs: int) -> dict[str, Any]:
    """Pairs of both, one right after the other."""
    path = folder / case.file
    theirs = TIMED.format(imports=case.imports, call=case.call, count=0)
    found = [(seconds(OURS, path), seconds(theirs, path)) for _ in range(pairs)]
    tensors = found[0][0][0]
    ratios = [us / them for (_, us), (_, them) in found]
    return {
        "reader": case.reader,
        "tensors": tensors,
        "seconds": median([us for (_, us), _ in found]),
        "peer": case.peer,
        "peer_seconds": median([them for _, (_, them) in found]),
        "ratio": median(ratios),
        "ratio_quartiles": list(quartiles(ratios)),
    }


def row(found: dict[str, Any]) -> str:
    low, high = found["ratio_quartiles"]
    each = 1e6 / found["tensors"]
    cells = (
        found["reader"],
        f"{found['tensors']:,}",
        f"{found['seconds'] * each:,.1f} µs",
        found["peer"],
        f"{found['peer_seconds'] * each:,.1f} µs",
        f"{found['ratio']:.2f}",
        f"{low:.2f}–{high:.2f}",
    )
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description="time per tensor of each reader, against the format's own program")
    parser.add_argument("--pairs", type=int, default=7, help="pairs of runs for every reader (7)")
    parser.add_argument(
        "--files", type=Path, default=HERE / "models" / "readers", metavar="DIR", help="where the files are made"
    )
    parser.add_argument("--only", metavar="WORD", default="", help="only readers with this word in their name")
    parser.add_argument("--quick", action="store_true", help="two pairs, and no file is written")
    chosen = parser.parse_args()
    make(chosen.files)
    results = []
    for case in CASES:
        if chosen.only.lower() in case.reader.lower():
            try:
                results.append(measured(case, chosen.files.absolute(), 2 if chosen.quick else max(1, chosen.pairs)))
                print(row(results[-1]), flush=True)
            except RunError as reason:
                print(f"{case.reader}: left out: {reason}", file=sys.stderr)
    if chosen.quick or chosen.only:
        return
    RESULTS.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    heading = ("reader", "tensors", "ours, a tensor", "against", "theirs, a tensor", "ours / theirs", "quartiles")
    rule = ("---", "---:", "---:", "---", "---:", "---:", "---:")
    table = [f"| {' | '.join(cells)} |" for cells in (heading, rule)] + [row(found) for found in results]
    before, _, rest = README.read_text().partition(BEGIN)
    README.write_text(f"{before}{BEGIN}\n\n" + "\n".join(table) + f"\n\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
