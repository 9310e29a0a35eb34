"""The quantised weights of a checkpoint in a few lines: schemes, bits a weight, what is not quantised, and what the configuration
says of it all, held against the tensors."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from modelscope_cli.analysis.kinds import EMBEDDING_NAME, HEAD_NAME, NORM_NAME
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.analysis.quantised import INTEGERS
from modelscope_cli.analysis.roles import BIAS, HELPER, WEIGHT

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
PLAIN = ("float16", "bfloat16", "float32", "float64")


class Share(NamedTuple):
    """The weights of one scheme: `tensors`, `elements` in the model, their `nbytes`, and a line that stands for them."""

    scheme: str
    bits: int | None
    group: int | None
    tensors: int
    elements: int
    nbytes: int
    line: int
    configured: bool
    evidence: str


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
        self.plain = [line for line in self.others if len(shapes[line]) > 1 and ledger.dtypes[line].name in PLAIN]
        self.lines: list[int] = [*packed, *self.by_dtype]

    def _by_dtype(self, name: str, kind: str, block: int, helped: bool) -> bool:
        """Whether a dtype alone makes a weight a quantised one: torch's own, and float8 where scales or the configuration say so."""
        return (kind == "quantized" and block == 1) or (name in FLOAT8 and (helped or bool(self.config.method)))

    def _shares(self) -> list[Share]:
        ledger = self.ledger
        groups: dict[tuple[object, ...], list[int]] = {}
        for line, packed in ledger.packed.items():
            if ledger.roles[line] in (WEIGHT, BIAS):
                groups.setdefault((packed.scheme, packed.bits, packed.group), []).append(line)
        found = []
        for lines in groups.values():
            packed = ledger.packed[lines[0]]
            found.append(self._share(packed.scheme, packed.bits, packed.group, lines, packed.configured, packed.evidence))
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
        """Rows and columns that share a scale in float8 with scales of blocks: 128 × 128."""
        ledger, line = self.ledger, share.line
        weight, parent = ledger.shapes[line], ledger.parents[line]
        for leaf in ("weight_scale_inv", "weight_scale"):
            name = f"{parent}.{leaf}" if parent else leaf
            other = ledger.names.index(name) if name in ledger.names else -1
            if other >= 0 and len(weight) == len(ledger.shapes[other]) == 2 and 0 not in ledger.shapes[other]:
                rows, columns = ledger.shapes[other]
                return -(-weight[0] // rows), -(-weight[1] // columns)
        return None

    def modules(self) -> Counter[str]:
        """Last names of the modules that are quantised, as the first thousands of them show."""
        parents = self.ledger.parents
        return Counter([parents[line].rpartition(".")[2] for line in self.lines[:ENOUGH]])

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
        ends = tuple(f".{name}" for name in names)
        alike = {
            path.rpartition(".")[2]
            for path in map(ledger.parents.__getitem__, self.lines)
            if path.endswith(ends) or path in names
        }
        found = []
        for line in self.plain:
            path = ledger.parents[line]
            last = path.rpartition(".")[2]
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


def summary(ledger: Ledger) -> Summary | None:
    """The summary, made once; None for a checkpoint in which nothing is quantised, as far as can be told."""
    quantised = ledger.quantised
    if quantised.summary is None:
        method = quantised.declared
        speaks = bool(ledger.packed) or HELPER in ledger.roles or (method not in ("", "gguf"))
        speaks = speaks or any([dtype.kind == "quantized" and dtype.block == 1 for dtype in quantised.dtypes.values()])
        quantised.summary = Summary(ledger) if speaks else False
    return quantised.summary or None
