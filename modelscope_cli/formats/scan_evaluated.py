"""Texts in files that the programs which read them evaluate as Python, or import: a plain value that runs all the same.

    names: "__import__('os').system('id')"              ultralytics and YOLOv5 gave them to eval(), from metadata of ONNX and TorchScript
    activation: …, backbone: [[…, "…"]]                 ultralytics and YOLOv5 give them to eval(), from YAML and from checkpoints
    conv_feature_layers: "[(512,10,5)] + …"             fairseq, WavLM and their kin give it to eval(), from checkpoints
    meta: {cfg: "model = dict(…)"}                      mmengine's inferencers run it as a configuration
    "_instantiator": "pydoc.pipepager"                  Lightning before 2.6 imports and calls it, from hyper_parameters
    "device": "$os.system('id')"                        MONAI evaluates what begins with $ in its configurations
    "model_type": "llama;…"                             unsloth puts it into source that it runs

Who evaluates what changes with every release, so any value of structured data is told that is an expression with a call that reaches for
something (evaluated_words), wherever it stands; in a pickle any program with one. Words, templates, tokens and keys are none. Behind keys
that are known to be evaluated an expression with any call is told. Facts: ultralytics/nn/autobackend.py (8.2, and 8.3 for `args`) and
tasks.py (8.2); yolov5/models/common.py and yolo.py (7.0); fairseq/models/wav2vec/wav2vec.py, wav2vec2.py; mmengine/infer/infer.py (0.10);
lightning/pytorch/core/saving.py (2.5); monai/bundle/config_item.py, reference_resolver.py (1.6); unsloth_zoo/compiler.py (2025.11).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from modelscope_cli.containers.pickle_nodes import Call, Mapping, SetOf
from modelscope_cli.formats.evaluated_hints import BRACKET_BYTES, may_call
from modelscope_cli.formats.evaluated_words import (
    calls_in,
    effort,
    has_hint,
    imported,
    is_call,
    without_texts,
)
from modelscope_cli.formats.scan_templates import is_template

if TYPE_CHECKING:
    from modelscope_cli.formats.scanning import Walk

CODE = "evaluated-text"
TEMPLATE = "chat_template"
EVALUATED = frozenset(("names", "imgsz", "kpt_shape"))  # whose texts are given to eval()
OF_EXPORTS = ("metadata.yaml", "config.txt")  # of ultralytics, which gave these keys of them to eval():
EVALUATED_OF_EXPORTS = EVALUATED | {"args"}
SERIALIZED = ":serialized:"  # what stable-baselines3 unpickles
BEGINS = re.compile(r"\s*gA[I-X]")  # base64 of a pickle
LAYERS = ("conv_feature_layers", "conv_aggregator_layers")  # likewise, and nothing but numbers
LITERAL_LAYERS = re.compile(r"[()\[\]0-9,+* \t\n]*", re.ASCII)
INSTANTIATOR = "_instantiator"
KNOWN_INSTANTIATOR = re.compile(r"(?:pytorch_lightning|lightning(?:\.pytorch)?)\.cli\.instantiate_module|")
MODEL_TYPE = "model_type"
PLAIN_TYPE = re.compile(r"[\w.+ -]*", re.ASCII)
BREAKS_OUT = re.compile(r"[;#\n\r\\]")  # what ends a statement, or hides the rest of one
KNOWN = EVALUATED_OF_EXPORTS | {*LAYERS, INSTANTIATOR, MODEL_TYPE, SERIALIZED}
SHORT = 64  # characters that are looked at as fast as they are remembered
MONAI = re.compile(rb'"(?:_target_|imports|_meta_|bundle_root|network_def|monai_version|_requires_)"')
TRUST = "trust_remote_code"
YES = ("true", "yes", "on", "1")
LONGEST_KEY = 200  # characters of it that matter
# Of a document: a call, an expression of MONAI, a key that is looked at, a base64 of a pickle, or letters behind an escape.
IN_JSON = re.compile(
    rb'"\$|"_instantiator"|"conv_(?:feature|aggregator)_layers"|trust_remote_code|":serialized:"|"\s*gA[I-X]'
    rb"|\\u(?:00[2-7aAbB]|[fF][fFbBeE]|2[01cC]|1[dD]|02|[dD]83[5cC5C]|017)"
)
IN_LARGE_JSON = re.compile(rb'trust_remote_code|:serialized:|gA[I-X](?<="gA[I-X])[\w+/\\-]{40}|"\$(?:import|from|os|__)')
LONGEST_SHOWN = 80
MOST_TOLD = 20  # of a document
PLAIN = frozenset((int, float, bool, type(None)))
MOST_JUDGED = 1 << 22  # quotes, and eights of characters, of the texts of a document that are taken apart
DEBUG = re.compile(r"(?:^|/)code/.*\.py\.debug_pkl$", re.DOTALL)  # Python that TorchScript shows where it fails, and never runs


def is_consent(value: Any) -> bool:
    """Whether a value of trust_remote_code is taken for a yes."""
    return value.strip().lower() in YES if isinstance(value, str) else isinstance(value, int | float) and bool(value)


def _of_monai(text: str) -> str:
    """What MONAI evaluates of a text that begins with $: it puts the new separator of its references for the old one first."""
    return text[1:].replace("#", "::")


def _kind_of(key: str) -> str:
    """What of a key makes a difference to how the text under it is judged."""
    return key if key in KNOWN else "template" if "template" in key.lower() else ""


def _may_tell(text: str) -> bool:
    return "(" in text or "[" in text or "gA" in text or text[:1] == "$"


class Looking:
    """A walk through one document, or the object of a pickle."""

    def __init__(
        self,
        walk: Walk,
        where: str,
        *,
        programs: bool = False,
        types: bool = False,
        expressions: bool = False,
        exported: bool = False,
    ):
        self.walk = walk
        self.where = where
        self.programs = programs
        self.types = types  # whether a model_type is put into source
        self.expressions = expressions  # whether what begins with $ is one
        self.evaluated_keys = EVALUATED_OF_EXPORTS if exported else EVALUATED
        self.packed: list[tuple[str, str]] = []  # texts that may be pickles in base64, by their keys
        self.trusts = False
        self.longest: Any = None  # the last key that was too long, and its beginning
        self.cut = ""
        self.evaluated = 0  # calls in expressions of MONAI that reach for nothing
        self.told = 0
        self.left = MOST_JUDGED
        self.judged: set[tuple[str, str]] = set()  # with the key, where that is known to be evaluated

    def document(self, root: Any) -> None:
        """Every text in lists, dictionaries, sets and objects; keys are none."""
        waiting: list[tuple[str, Any]] = [("", root)]
        seen: set[int] = set()
        texts: set[tuple[int, str]] = set()
        most = 2 * self.walk.limits.objects
        steps = 0
        while waiting:
            key, node = waiting.pop()
            kind = type(node)
            if kind is str or kind is bytes:
                if len(node) > SHORT:
                    met = (id(node), _kind_of(key))
                    if met in texts:  # a pickle may refer to one text a million times
                        continue
                    texts.add(met)
                self.text(key, node if kind is str else node.decode("utf-8", "replace"))
                continue
            if kind in (list, tuple, dict, Mapping, Call, SetOf):
                if id(node) in seen:
                    continue
                seen.add(id(node))
            steps += 1
            if steps > most:
                self.walk.unseen(self.where, f"what follows the first {most:,} values of a document (--limit objects=N)")
                return
            waiting += self.inside(key, node)

    def inside(self, key: str, node: Any) -> list[tuple[str, Any]]:
        """What a node holds that may have a text in it, last things first."""
        if isinstance(node, dict):
            self.trusts = self.trusts or is_consent(node.get(TRUST))
            if TEMPLATE in key:  # the same is said of all that is in it
                return [(TEMPLATE, each) for each in node.values()]
            pairs = list(node.items())
        elif isinstance(node, Mapping):
            pairs = [*node.pairs, ("", node.state)]
        elif isinstance(node, Call):
            pairs = [*(node.entries or ()), ("", node.args), ("", node.items), (key, node.state)]
        elif isinstance(node, SetOf):
            pairs = [(key, each) for each in node.items]
        elif isinstance(node, (list, tuple)):
            key = key if not key or key.endswith("[]") else f"{key}[]"  # an entry is not what stands under the key
            return [(key, each) for each in node if (_may_tell(each) if type(each) is str else type(each) not in PLAIN)]
        else:
            return []
        return [(self.key(name), each) for name, each in pairs if type(each) not in PLAIN]

    def key(self, name: Any) -> str:
        """The beginning of a key. One long key may stand before a million values: it is cut once."""
        if type(name) is not str:
            return ""
        if len(name) <= LONGEST_KEY:
            return name
        if self.longest is not name:
            self.longest, self.cut = name, name[:LONGEST_KEY]
        return self.cut

    def text(self, key: str, text: str) -> None:
        """Judge one text under a key."""
        if key == SERIALIZED or BEGINS.match(text):
            self.packed.append((key, text))
        if self.told >= MOST_TOLD:
            return
        if key == INSTANTIATOR and KNOWN_INSTANTIATOR.fullmatch(text) is None:
            from modelscope_cli.formats.scan_names import add_name

            add_name(self.walk, self.where, text, INSTANTIATOR)
        elif key == MODEL_TYPE and self.types and PLAIN_TYPE.fullmatch(text) is None and BREAKS_OUT.search(text):
            self.tell(key, text, "is more than a name, and is put into source that is run")
        elif (
            self.expressions and text[:1] == "$" and "import" in text and (found := imported(without_texts(_of_monai(text))[0]))
        ):
            self.tell(key, text, f"is Python with {', '.join(sorted(found)[:4])}, and is run")
        elif ("(" in text or "[" in text) and "\0" not in text and not is_template(key, text):  # Python refuses a NUL
            expression = self.expressions and text[:1] == "$"
            known = key if key in LAYERS or key in self.evaluated_keys else ""
            if (expression or known or has_hint(text)) and (known, text) not in self.judged:
                self.judged.add((known, text))
                self.left -= effort(text)
                if self.left < 0:
                    self.walk.unseen(self.where, "texts in it that may be Python, beyond those that are looked at")
                else:
                    self.python(key, text, expression=expression)

    def python(self, key: str, text: str, *, expression: bool) -> None:
        calls = calls_in(_of_monai(text) if expression else text.removeprefix("$"), programs=self.programs or expression)
        if calls:
            self.tell(key, text, f"is Python that calls {', '.join(calls[:4])}")
        elif key in LAYERS and LITERAL_LAYERS.fullmatch(text) is None and is_call(text):
            self.tell(key, text, "is more than numbers, and is given to eval()")
        elif key in self.evaluated_keys and is_call(text):
            self.tell(key, text, "calls something, and is given to eval()")
        elif expression and is_call(_of_monai(text)):
            self.evaluated += 1

    def finish(self) -> None:
        """What is said of a document once, and what its texts hold."""
        if self.trusts:
            self.walk.sign("custom-code", self.where, "it asks for trust_remote_code")
        if self.evaluated:
            times = f", {self.evaluated:,} times" if self.evaluated > 1 else ""
            said = f"a text that begins with $ has something called: MONAI evaluates it{times}"
            self.walk.sign("computed-target", self.where, said)
        if self.packed:
            from modelscope_cli.formats.scan_base64 import scan_base64

            scan_base64(self.walk, self.where, self.packed)

    def tell(self, key: str, text: str, what: str) -> None:
        self.told += 1
        shown = text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 1]}…"
        self.walk.sign(CODE, self.where, f"the text {f'under {key[:40]!r} ' if key else ''}{what}: {shown!r}")


def texts_in_json(walk: Walk, where: str, leaf: str, document: Any, data: bytes) -> None:
    """Look through a document of JSON for texts that are evaluated, pickles in base64, and consent to code that nobody gave."""
    if leaf.endswith(".ipynb"):
        return
    wide = b"\0" in data[:4]  # UTF-16 and UTF-32
    types = leaf == "config.json" and (wide or b"model_type" in data or b"\\u" in data)
    if not (types or wide or IN_JSON.search(data) or BRACKET_BYTES.search(data)):
        return
    looking = Looking(walk, where, types=types, expressions=wide or MONAI.search(data) is not None, exported=leaf in OF_EXPORTS)
    looking.document(document)
    looking.finish()


def in_large_json(piece: bytes) -> bool:
    """Whether a piece of a document that is too long to be taken apart for nothing has what is looked for."""
    return IN_LARGE_JSON.search(piece) is not None or may_call(piece)


def texts_in_pickle(walk: Walk, where: str, root: Any) -> None:
    """Look through the object of a pickle."""
    if DEBUG.search(where) is None:
        Looking(walk, where, programs=True).document(root)


def text_of_script(walk: Walk, where: str, text: str) -> None:
    """A file that TorchScript carries for its program (torch.jit.save, _extra_files)."""
    Looking(walk, where).text("", text)


def value_of_key(walk: Walk, where: str, key: str, text: str) -> None:
    """A text under a key, as metadata of an exported model have them."""
    Looking(walk, where, exported=True).text(key, text)
