"""Findings about the names that configurations have a program look up and call: `_target_`, tags of YAML, and Keras's own.

A name is judged as if a pickle imported and called it, but for three things. Python's standard library is suspicious where a row does
not say worse, and functions of frameworks are unknown where no row knows them, because a configuration has use for many of them.
Keras asks for parts of models alone: what is of Python is dangerous there, and of any other library at least unknown.
sentence-transformers names classes and activation functions: torch's layers are safe there by both of their names.
Behind keys that other things have, too (`target` beside `params`, `type`), a text counts as of Python only where Python has such a name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from modelscope_cli.analysis.found import MOST_NAMED, Found, capped
from modelscope_cli.analysis.policy import TELLING, Judgement, Policy, grave, gravest, is_standard
from modelscope_cli.analysis.policy_keras import is_builtin, is_part_of_a_model
from modelscope_cli.analysis.policy_layers import LAYER_ROWS
from modelscope_cli.analysis.policy_tensorflow import computes, is_public
from modelscope_cli.analysis.shown_call import lettered
from modelscope_cli.core.calling_keys import DEEPPAVLOV, FIDDLE, GLUONTS, LEROBOT, OPENMMLAB, SKOPS, TORCHTUNE
from modelscope_cli.core.scan_codes import DANGEROUS, SAFE, SUSPICIOUS, UNKNOWN
from modelscope_cli.core.scanned import BESIDE_PARAMS, KERAS, SENTENCES, SERVED, Target
from modelscope_cli.core.standard_names import may_be_called
from modelscope_cli.report.document import Code, Phrase

LONGEST = 200  # characters of a name that are shown
OF_PYTHON = "!!python/"
CODES = {DANGEROUS: "dangerous-target", SUSPICIOUS: "suspicious-target", UNKNOWN: "unjudged-target"}
OF_SENTENCES = {**CODES, UNKNOWN: "custom-code"}
OPT_IN = ": sentence-transformers imports it with trust_remote_code=True, and versions before 6.0 without"
LAYERS = "torch.nn.modules."
LOADING = "torch.utils.data"  # beside what a pickle has no use for, classes that configurations of training do
LOADERS = frozenset({
    "DataLoader", "Dataset", "IterableDataset", "TensorDataset", "ConcatDataset", "ChainDataset", "Subset", "random_split", "Sampler",
    "default_collate", "BatchSampler", "RandomSampler", "SequentialSampler", "SubsetRandomSampler", "WeightedRandomSampler",
    "DistributedSampler",
})  # fmt: skip
OF_KERAS = {DANGEROUS: "keras-import", SUSPICIOUS: "keras-odd-import", UNKNOWN: "keras-unjudged"}
WHOSE = {
    KERAS: (OF_KERAS, "a Keras configuration"),
    SENTENCES: (OF_SENTENCES, "a configuration of sentence-transformers"),
    SERVED: (CODES, "a manifest of TorchServe"),
    BESIDE_PARAMS: (CODES, "a configuration"),
    TORCHTUNE: (CODES, "a configuration of torchtune"),
    LEROBOT: (CODES, "a configuration of LeRobot"),
    GLUONTS: (CODES, "a predictor of GluonTS"),
    FIDDLE: (CODES, "a configuration of fiddle, as NeMo keeps them,"),
    DEEPPAVLOV: (CODES, "a configuration of DeepPavlov"),
    OPENMMLAB: (CODES, "a configuration that OpenMMLab's programs read"),
    SKOPS: (CODES, "a schema of skops"),
}

BY_ROW = frozenset((OPENMMLAB, SKOPS))


def found_in(targets: Iterable[Target], policy: Policy) -> Iterator[Found]:
    """One for each name that is worse than unknown, and one a file for all others that nobody has judged."""
    unknown: dict[tuple[str, str], list[str]] = {}
    worse: list[tuple[Target, Judgement]] = []
    for target in targets:
        judgement = judged(target, policy)
        if grave(judgement.level) > grave(UNKNOWN):
            worse.append((target, judgement))
        elif judgement.level == UNKNOWN:
            unknown.setdefault((target.where, target.tag if target.tag in WHOSE else ""), []).append(shown(target))
    worse.sort(key=lambda pair: -grave(pair[1].level))
    yield from capped((_worse(target, judgement) for target, judgement in worse), "names")
    for (where, tag), names in unknown.items():
        yield _unjudged(where, tag, names)


def _worse(target: Target, judgement: Judgement) -> Found:
    codes, whose = WHOSE.get(target.tag, (CODES, "a configuration"))
    by = whose.replace("a ", "its ", 1) if target.tag in WHOSE else "the tag" if target.tag else "_target_"
    reason = (
        f": {_cut(target.name)} {judgement.reason}" if _is_python(target) and target.name else f", which {judgement.reason}"
    )
    name = Code(lettered(shown(target)))
    opt_in = OPT_IN if target.tag == SENTENCES else ""
    return Found(
        judgement.level,
        codes[judgement.level],
        where=target.where,
        offset=None,
        message=Phrase(
            (f"{by} names ", name, lettered(reason), opt_in) if opt_in else (f"{by} names ", name, lettered(reason))
        ),
        subject=_cut(target.name) or shown(target),
        brief=Phrase((f"{whose} names ", name)),
    )


def _unjudged(where: str, tag: str, names: list[str]) -> Found:
    listed = Code(lettered(", ".join(names[:MOST_NAMED]) + (", …" if len(names) > MOST_NAMED else "")))
    codes, which = WHOSE.get(tag, (CODES, "a configuration"))
    return Found(
        UNKNOWN,
        codes[UNKNOWN],
        where=where,
        offset=None,
        message=Phrase((f"{which} names what nobody has judged: ", listed, *([OPT_IN] if tag == SENTENCES else []))),
        subject=names[0],
        brief=Phrase((f"{which} names ", listed)),
    )


def shown(target: Target) -> str:
    """How the file writes it."""
    name = _cut(target.name)
    return name if target.tag in ("", *WHOSE) else f"{target.tag}:{name}" if name else target.tag


def _cut(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[: LONGEST // 2]}…{name[-LONGEST // 2 :]}"


def _is_python(target: Target) -> bool:
    return target.tag.startswith(OF_PYTHON)


def judged(target: Target, policy: Policy) -> Judgement:
    """How grave it is that a program calls what the name stands for."""
    if target.tag == KERAS:
        return _of_keras(target.name, policy)
    if target.tag == SENTENCES:
        return _of_sentences(target.name, policy)
    if _is_python(target):
        return _tagged(target, policy)
    own = _called(target.name, policy)
    if target.tag == BESIDE_PARAMS and not own.by and not may_be_called(target.name):
        return Judgement(UNKNOWN, "is no function of the module of Python that it begins with")
    return _by_row(target, own, policy) if target.tag in BY_ROW else own


def _by_row(target: Target, own: Judgement, policy: Policy) -> Judgement:
    """Behind a usual key, and where a person is asked first, what no row calls harmful is not accused."""
    module, _, last = target.name.rpartition(".")
    if own.by or own.level == DANGEROUS or (own.level == SUSPICIOUS and policy.row(module, last) is not None):
        return own
    return Judgement(SAFE if target.tag == SKOPS else UNKNOWN, own.reason)


def _called(name: str, policy: Policy) -> Judgement:
    module, _, last = name.rpartition(".")
    if not module:
        return Judgement(UNKNOWN, "is no name of a module")
    own = policy.judge(module, last)
    first, _, rest = name.partition(".")
    if own.by or (own.level == SAFE and not is_standard(first)) or (own.level == UNKNOWN and (module, last) in policy.exact):
        return own
    if module in (LOADING, f"{LOADING}.distributed") and last in LOADERS:
        return Judgement(UNKNOWN, "feeds data to a model while it is trained")
    through = policy.judge(first, rest)
    for judgement in (own, through):
        if judgement.level == DANGEROUS:
            return judgement
    if is_standard(first):
        return Judgement(SUSPICIOUS, "is of Python's standard library") if own.level != SAFE else Judgement(UNKNOWN, own.reason)
    return own if own.level != SUSPICIOUS or policy.row(module, last) is not None else Judgement(UNKNOWN, own.reason)


def _tagged(target: Target, policy: Policy) -> Judgement:
    """Tags that import or call are worse than the name alone; `name` and `module` only import."""
    if not target.name:
        return Judgement(DANGEROUS, "makes objects of Python, whatever they are")
    own = _called(target.name if "." in target.name else f"{target.name}.", policy)
    level = gravest((own.level, UNKNOWN))
    if grave(level) > grave(UNKNOWN):
        return Judgement(DANGEROUS, own.reason)
    if own.level == SAFE or own.by or target.tag.endswith(("/name", "/module")):
        return Judgement(UNKNOWN, own.reason)
    return Judgement(SUSPICIOUS, f"{own.reason}, and yaml.load makes an object of it")


def _of_sentences(name: str, policy: Policy) -> Judgement:
    """torch.nn.Tanh is torch.nn.modules.activation.Tanh."""
    own = _called(name, policy)
    module, _, last = name.rpartition(".")
    if module == "torch.nn" and own.level == UNKNOWN and not own.by:
        layers = (row for row in LAYER_ROWS if row[0].startswith(LAYERS) and last in row[1].split())
        if (row := next(layers, None)) is not None:
            return policy.judge(row[0], last)
    return own


def _of_keras(name: str, policy: Policy) -> Judgement:
    """A module and a name with a dot between them, however the configuration divides them."""
    module, _, last = name.rpartition(".")
    first, _, rest = name.partition(".")
    own, through = policy.judge(module, last), policy.judge(first, rest)
    if own.by:
        return own
    row = policy.row(module, last)
    if computes(module, last) and (row is None or row.level != DANGEROUS):
        return Judgement(SAFE, "computes from its arguments alone")
    for judgement in (own, through):
        if judgement.level == DANGEROUS:
            return judgement
    if name.partition(".")[0] == "builtins":
        return _of_builtins(rest, policy)
    if is_standard(first):
        return Judgement(DANGEROUS, "is of Python's standard library: Keras before 3.9 imports and calls it")
    unjudged = row is None and is_public(module) and last.isidentifier() and last not in TELLING
    if own.level == SUSPICIOUS and not unjudged:
        return own
    if is_part_of_a_model(module, last):
        return Judgement(SAFE, "is a part of Keras's models")
    return Judgement(UNKNOWN, own.reason if own.level in (UNKNOWN, SUSPICIOUS) else "is of another library than Keras")


def _of_builtins(name: str, policy: Policy) -> Judgement:
    """Keras writes its own functions as of this module, and those of the program, which has to bring them."""
    if not is_builtin(name):
        return Judgement(SAFE, "is a function of Keras, or of the program that loads the model")
    row = policy.row("builtins", name)
    return row if row is not None and row.level == SUSPICIOUS else Judgement(UNKNOWN, "is a function of Python itself")
