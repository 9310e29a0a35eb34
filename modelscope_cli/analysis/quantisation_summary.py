"""The quantised weights of a checkpoint in a few lines: schemes, bits a weight, what is not quantised, and what the configuration
says of it all, held against the tensors."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from modelscope_cli.analysis.adapter_parts import PARTS
from modelscope_cli.analysis.kinds import EMBEDDING_NAME, HEAD_NAME, NORM_NAME
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.analysis.quantised import INTEGERS, module_name
from modelscope_cli.analysis.roles import BIAS, BUFFER, HELPER, WEIGHT

if TYPE_CHECKING:
    from modelscope_cli.analysis.quantisation_config import QuantisationConfig
    from modelscope_cli.analysis.quantisation_rules import Rule

ROUTERS = ("gate", "router", "shared_expert_gate")  # of experts: parameters of a module of its own in many models
FLOAT8 = {
    "float8_e4m3fn": "FP8 (E4M3)",
    "float8_e5m2": "FP8 (E5M2)",
    "float8_e4m3fnuz": "FP8 (E4M3 FNUZ)",
    "float8_e5m2fnuz": "FP8 (E5M2 FNUZ)",
}
ENOUGH = 4_096  # modules, to say which are quantised
PACKING = 32  # bits of the widest integers that others are packed into
PLAIN = ("float16", "bfloat16", "float32", "float64")


class Share(NamedTuple):
    """The weights of one scheme: `tensors`, `elements` in the model, their `nbytes`, and a line that stands for them. `bits` are a
    mean where `mixed`."""

    scheme: str
    bits: float | None
    group: int | None
    tensors: int
    elements: int
    nbytes: int
    line: int
    configured: bool
    evidence: str
    mixed: bool = False


class Summary:
    """`shares`: by scheme, the largest first. `by_dtype`: lines of weights whose dtype is their scheme; `others`: lines of weights and
    biases that are not quantised, `plain` the matrices of them; `lines`: all that are.
    """

    def __init__(self, ledger: Ledger):
        self.ledger = ledger
        self.config: QuantisationConfig = ledger.quantised.config
        roles, packed = ledger.roles, ledger.packed
        sums = ledger.by_role()
        self.helpers = sums.get(HELPER, (0, 0, 0))[2]  # bytes
        self.nbytes = sum([sums[role][2] for role in (WEIGHT, BIAS) if role in sums])
        keys = list(map(id, ledger.dtypes))
        names = ledger.quantised.dtypes
        special = {key for key, dtype in names.items() if self._by_dtype(dtype.name, dtype.kind, dtype.block, self.helpers > 0)}
        self.by_dtype: list[int] = []
        self.others: list[int] = []
        for line, (key, role) in enumerate(zip(keys, roles, strict=True)):
            if role in (WEIGHT, BIAS) and line not in packed:
                (self.by_dtype if key in special else self.others).append(line)
        self.shares = sorted(self._shares(), key=lambda share: -share.elements)
        shapes = ledger.shapes
        self.plain = [
            line
            for line in self.others
            if len(shapes[line]) > 1 and ledger.dtypes[line].name in PLAIN and roles[line] == WEIGHT
        ]
        self.lines: list[int] = [*packed, *self.by_dtype]

    def _by_dtype(self, name: str, kind: str, block: int, helped: bool) -> bool:
        """Whether a dtype alone makes a weight a quantised one: torch's own, and float8 where scales or the configuration say so."""
        return (kind == "quantized" and block == 1) or (name in FLOAT8 and (helped or bool(self.config.method)))

    def _shares(self) -> list[Share]:
        ledger = self.ledger
        groups: dict[tuple[object, ...], list[int]] = {}
        for line, packed in ledger.packed.items():
            if ledger.roles[line] in (WEIGHT, BIAS):
                bits = None if packed.mixed else packed.bits
                groups.setdefault((packed.scheme, bits, packed.group), []).append(line)
        found = []
        for lines in groups.values():
            packed = ledger.packed[lines[0]]
            share = self._share(packed.scheme, packed.bits, packed.group, lines, packed.configured, packed.evidence)
            if packed.mixed and share.elements:
                share = share._replace(bits=round(8 * share.nbytes / share.elements, 2), mixed=True)
            found.append(share)
        named: dict[str, list[int]] = {}
        for line in self.by_dtype:
            named.setdefault(ledger.dtypes[line].name, []).append(line)
        for name, lines in named.items():
            dtype, group = ledger.dtypes[lines[0]], None
            if name in FLOAT8:
                found.append(self._share(FLOAT8[name], 8, group, lines, False, "dtype"))
            else:
                found.append(self._share(f"torch {name}", dtype.bits, group, lines, False, "dtype"))
        return found

    def _share(
        self, scheme: str, bits: int | None, group: int | None, lines: list[int], configured: bool, evidence: str
    ) -> Share:
        ledger = self.ledger
        elements, nbytes = sum(map(ledger.parameters.__getitem__, lines)), sum(map(ledger.nbytes.__getitem__, lines))
        return Share(scheme, bits, group, len(lines), elements, nbytes, lines[0], configured, evidence)

    def block(self, share: Share) -> tuple[int, int] | None:
        """Rows and columns that share a scale in float8: 128 × 128 in blocks, all of them with one scale for the tensor."""
        ledger, line = self.ledger, share.line
        weight, parent, own = ledger.shapes[line], ledger.parents[line], ledger.leaves[line]
        if len(weight) < 2:
            return None
        for leaf in (f"{own}_scale_inv", f"{own}_scale", f"{own}_weight_scale", "scale_weight"):
            name = f"{parent}.{leaf}" if parent else leaf
            other = ledger.names.index(name) if name in ledger.names else -1
            if other < 0 or 0 in ledger.shapes[other]:
                continue
            scale = ledger.shapes[other]
            if math.prod(scale) == 1:
                return math.prod(weight[:-1]), weight[-1]
            if scale == weight[:1] and len(weight) == 2:
                return 1, weight[1]
            if len(scale) == len(weight):
                return -(-weight[-2] // scale[-2]), -(-weight[-1] // scale[-1])
        return None

    def modules(self) -> Counter[str]:
        """Names of the modules that are quantised, as the first thousands of them show."""
        parents = self.ledger.parents
        return Counter([module_name(parents[line]) for line in self.lines[:ENOUGH]])

    @property
    def quantised(self) -> int:
        """Parameters that are quantised."""
        return sum([share.elements for share in self.shares])

    def bits_per_weight(self) -> tuple[float, float] | None:
        """Bits of weights and helpers for each parameter: over all, and over those that are quantised."""
        parameters, quantised = self.ledger.total_parameters(), self.quantised
        if not quantised or not parameters:
            return None
        own = sum([share.nbytes for share in self.shares])
        return 8 * (self.nbytes + self.helpers) / parameters, 8 * (own + self.helpers) / quantised

    def stored(self) -> int:
        """Distinct elements of weights and biases as they are stored."""
        ledger = self.ledger
        return sum(
            [
                min(ledger.owned[line], ledger.stored(line)) if line in ledger.packed else owned
                for line, (owned, role) in enumerate(zip(ledger.owned, ledger.roles, strict=True))
                if role in (WEIGHT, BIAS)
            ]
        )

    # What the configuration says of single modules ---------------------------------------------------------------------

    def left_out(self) -> list[tuple[Rule, list[int]]]:
        """The rules that leave modules out, each with the matrices it means that are indeed not quantised."""
        found: dict[Rule, list[int]] = {rule: [] for rule in self.config.left_out.all}
        for line in self.plain:
            rule = self.config.left_out.first(self.ledger.parents[line])
            if rule is not None:
                found[rule].append(line)
        return list(found.items())

    def quantised_anyway(self) -> list[str]:
        """Modules that the configuration leaves out by name and that are quantised all the same."""
        if not self.config.left_out.all:
            return []
        ledger = self.ledger
        firsts: dict[object, str] = {}
        whole = self.config.left_out.whole
        found = []
        for line in (*ledger.packed, *self.by_dtype):
            path = ledger.parents[line]
            if path in whole:
                found.append(path)
            else:
                firsts.setdefault((path.rpartition(".")[2], id(ledger.packed.get(line))), path)
        return found + [path for path in firsts.values() if self.config.left_out.first(path) is not None]

    def not_quantised(self) -> list[int]:
        """Lines of matrices that are not quantised though nothing leaves them out: by a configuration that speaks of all modules,
        else because those of the same name elsewhere are quantised."""
        if not self.shares or not self.config.method:
            return []
        ledger, config = self.ledger, self.config
        names = {ledger.parents[line].rpartition(".")[2] for line in self.plain}
        alike = names & {ledger.parents[line].rpartition(".")[2] for line in self.lines}
        found = []
        for line in self.plain:
            path = ledger.parents[line]
            last = path.rpartition(".")[2]
            if module_name(path) in PARTS:  # of an adapter
                continue
            if ledger.leaves[line] != "weight" or len(ledger.shapes[line]) != 2 or config.left_out.first(path) is not None:
                continue
            if last in alike or (config.explicit and self._linear(last) and self._targeted(path)):
                found.append(line)
        return found

    def _linear(self, last: str) -> bool:
        """Whether a matrix of this name is taken for a Linear: no embedding, no norm, no router."""
        return bool(HEAD_NAME.fullmatch(last)) or not (
            EMBEDDING_NAME.fullmatch(last) or NORM_NAME.fullmatch(last) or last in ROUTERS
        )

    def _targeted(self, path: str) -> bool:
        groups = self.config.groups
        return not groups or any("Linear" in group.targets.whole or group.targets.first(path) is not None for group in groups)


def unexplained(ledger: Ledger) -> list[int]:
    """Lines of integers that count as weights, of which nothing tells how many elements they hold."""
    if not ledger.quantised.integers:
        return []
    return [
        line
        for line, (dtype, role) in enumerate(zip(ledger.dtypes, ledger.roles, strict=True))
        if role == WEIGHT and dtype.kind in INTEGERS and (line not in ledger.packed or ledger.packed[line].bits is None)
    ]


def overlooked(ledger: Ledger) -> list[int]:
    """Lines of integers that count as buffers although they take more bytes than all else: weights in a layout nobody told us of?

    Integers of 64 bits are indices, as those of an adapter are, and what a file itself records as a buffer is one."""
    if not ledger.quantised.integers:
        return []
    recorded = ledger.checkpoint.tensors.recorded
    lines = [
        line
        for line, (dtype, role) in enumerate(zip(ledger.dtypes, ledger.roles, strict=True))
        if role == BUFFER and dtype.kind in INTEGERS and (dtype.bits or 0) <= PACKING and line not in recorded
        if ledger.leaves[line] not in PARTS
    ]
    taken = sum([ledger.nbytes[line] for line in lines])
    return lines if 2 * taken > sum(ledger.nbytes) else []


def summary(ledger: Ledger) -> Summary | None:
    """The summary, made once; None for a checkpoint in which nothing is quantised, as far as can be told."""
    quantised = ledger.quantised
    if quantised.summary is None:
        method = quantised.declared
        speaks = bool(ledger.packed) or HELPER in ledger.roles or (method not in ("", "gguf"))
        speaks = speaks or any([dtype.kind == "quantized" and dtype.block == 1 for dtype in quantised.dtypes.values()])
        quantised.summary = Summary(ledger) if speaks else False
    return quantised.summary or None
