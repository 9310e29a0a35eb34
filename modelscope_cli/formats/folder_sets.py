"""The sets of weights that lie side by side in one folder: which are the same model again, and which to take.

    model.safetensors, pytorch_model.bin, model.fp16.safetensors …   one model in several forms: what from_pretrained takes
    adapter_model.safetensors, adapter_model.bin                     the same of an adapter
    x.Q4_K_M.gguf, x.Q8_0.gguf                                       one model in several quantisations: what llama.cpp takes
    epoch_1.pth, epoch_2.pth, best.pth, last.pth                     steps of one training (folder_steps.py): the best, or the last
    anything else                                                    all of them

Facts: transformers and diffusers look for safetensors first and for a variant only when asked (`variant="fp16"`); `llama-cli -hf`
takes Q4_K_M, or else Q8_0 (ggml-org/llama.cpp#22428), or else the first file.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple, TypeVar

from modelscope_cli.core.checkpoint import Note
from modelscope_cli.core.folder import ADAPTER, OTHER, SAME, STEP, WEIGHTS
from modelscope_cli.formats.composites import SLICE, natural
from modelscope_cli.formats.folder_candidates import Candidate, is_packed
from modelscope_cli.formats.folder_candidates import candidates as candidates
from modelscope_cli.formats.folder_names import ARCHIVES, Said, is_adapter
from modelscope_cli.formats.folder_steps import step_of
from modelscope_cli.formats.folder_walk import Listing, below
from modelscope_cli.formats.target import Target

T = TypeVar("T")

PRETRAINED = "what from_pretrained takes"
OTHER_SETS = "other-sets"  # a note

# Forms of one model, best first, and what is said of one where a better is there.
Forms = tuple[tuple[re.Pattern[str], str], ...]
MODEL_FORMS: Forms = (
    (re.compile(r"model\.safetensors(\.index\.json)?"), "the same in safetensors"),
    (re.compile(r"pytorch_model\.bin(\.index\.json)?"), "pickled: safetensors come first"),
    (re.compile(r"diffusion_pytorch_model\.safetensors(\.index\.json)?"), "the same in safetensors"),
    (re.compile(r"diffusion_pytorch_model\.bin(\.index\.json)?"), "pickled: safetensors come first"),
    (re.compile(r"consolidated\.(safetensors|pth)(\.index\.json)?"), "in its makers' layout"),
    (
        re.compile(
            r"(model|pytorch_model|diffusion_pytorch_model)[._]((safetensors|bin)\.index\.)?(?P<variant>fp16|bf16|fp32|ema|non_ema)"
            r"(\.(safetensors|bin|json))?(\.index\.json)?"
        ),
        "the {variant} variant",
    ),
)
ADAPTER_FORMS: Forms = (
    (re.compile(r"(adapter_model|pytorch_lora_weights)\.safetensors"), "the same in safetensors"),
    (re.compile(r"(adapter_model|pytorch_lora_weights)\.bin"), "pickled: safetensors come first"),
)
QUANTISED = re.compile(
    r"(?P<stem>.*?)[-._](?P<quantisation>(UD-)?(I?Q\d\w*|TQ\d_\d|B?F16|F32|FP16|FP32|MXFP4\w*))\.gguf", re.IGNORECASE
)
USUAL = ("Q4_K_M", "Q8_0")  # quantisations, best first


class Choice(NamedTuple):
    """The checkpoints to read, best first, and what is said of files and folders (these end in /), by path from the root."""

    targets: list[Target]
    said: dict[str, Said]


def choose_among(listing: Listing, folder: str, aliases: dict[str, str]) -> Choice:
    """The sets to take of those that lie in a folder itself."""
    found = candidates(listing, folder, aliases)
    packed = [one for one in found if is_packed(one)]
    choice = Choice([], {})
    for one in packed:
        _say(folder, one, choice, Said(OTHER, ARCHIVES))
    found = _without(found, packed) if packed else found
    if not found:
        return choice
    regular = [one for one in found if any(below(folder, name) not in listing.special for name in one.names)]
    found = regular or found
    left = _one_of_forms(listing, folder, found, MODEL_FORMS, choice)
    if len(left) < len(found):
        left = _converted(folder, left, choice)
    left = _one_of_forms(listing, folder, left, ADAPTER_FORMS, choice)
    first = len(choice.targets)
    left = _one_quantisation(listing, folder, left, choice)
    left = _one_step(listing, folder, left, choice)
    for one in left:
        _use(folder, one, choice, "")
    choice.targets[first:] = sorted(choice.targets[first:], key=_by_name)
    return choice


def _by_name(target: Target) -> tuple[bool, str]:
    """By name, but a projector of images after the model that it is for."""
    name = os.path.basename(target.path).lower()
    return name.startswith("mmproj"), target.index_path or target.path


def _without(found: list[Candidate], taken: list[Candidate]) -> list[Candidate]:
    """Those that are not taken. By identity: there may be ten thousand of each."""
    known = set(map(id, taken))
    return [one for one in found if id(one) not in known]


def _use(folder: str, one: Candidate, choice: Choice, why: str, note: Note | None = None) -> None:
    target = one.target if note is None else one.target._replace(notes=(*one.target.notes, note))
    choice.targets.append(target)
    _say(folder, one, choice, Said(ADAPTER if is_adapter(one.name) else WEIGHTS, why, True))


def _say(folder: str, one: Candidate, choice: Choice, said: Said) -> None:
    choice.said.update((below(folder, name), said) for name in one.names)


def _others_note(listing: Listing, folder: str, duplicates: list[Candidate]) -> Note | None:
    if not duplicates:
        return None
    named = ", ".join(one.name for one in duplicates[:8]) + (
        f" and {len(duplicates) - 8:,} more" if len(duplicates) > 8 else ""
    )
    return Note(OTHER_SETS, "info", listing.at(folder), f"the folder also holds {named}: probably the same model again")


def _one_of_forms(listing: Listing, folder: str, found: list[Candidate], forms: Forms, choice: Choice) -> list[Candidate]:
    """Take the best of several forms of one model; the candidates that are something else."""
    ranked = []
    for one in found:
        for position, (pattern, why) in enumerate(forms):
            match = pattern.fullmatch(one.name)
            if match:
                ranked.append((position, why.format(**match.groupdict()), one))
                break
    if not ranked:
        return found
    if forms is MODEL_FORMS:
        layout = forms[4][1]
        ranked += [(4, layout, one) for one in _without(found, [row[2] for row in ranked]) if SLICE.fullmatch(one.name)]
    ranked.sort(key=lambda row: (row[0], row[2].target.shards is not None))  # a single file is looked for before an index
    position, _, best = ranked[0]
    duplicates = [one for _, _, one in ranked[1:]]
    _use(folder, best, choice, PRETRAINED if position < 4 else "", _others_note(listing, folder, duplicates))
    for _, why, one in ranked[1:]:
        _say(folder, one, choice, Said(SAME, why))
    return _without(found, [best, *duplicates])


def _converted(folder: str, found: list[Candidate], choice: Choice) -> list[Candidate]:
    """GGUF files beside a model of transformers are that model; a projector (mmproj) is a part of its own."""
    rest = []
    for one in found:
        if one.name.lower().endswith(".gguf") and not one.name.lower().startswith("mmproj"):
            match = QUANTISED.fullmatch(one.name)
            _say(folder, one, choice, Said(SAME, "converted for llama.cpp" + (f", {match['quantisation']}" if match else "")))
        else:
            rest.append(one)
    return rest


def _one_quantisation(listing: Listing, folder: str, found: list[Candidate], choice: Choice) -> list[Candidate]:
    """Of one model in several quantisations take the one that llama.cpp does."""
    groups: dict[str, list[tuple[str, Candidate]]] = {}
    for one in found:
        match = QUANTISED.fullmatch(one.name)
        if match:
            groups.setdefault(match["stem"], []).append((match["quantisation"], one))
    taken = []
    for several in groups.values():
        if len(several) > 1:
            name, best = usual_of(several)
            why = f"what llama.cpp takes ({name})"
            taken += [one for _, one in several]
            others = [one for _, one in several if one is not best]
            _use(folder, best, choice, why, _others_note(listing, folder, others))
            for quantisation, one in several:
                if one is not best:
                    _say(folder, one, choice, Said(SAME, f"quantised as {quantisation}"))
    return _without(found, taken)


def usual_of(several: list[tuple[str, T]]) -> tuple[str, T]:
    """The pair to take of pairs with a quantisation each."""
    return next((pair for usual in USUAL for pair in several if pair[0].upper().endswith(usual)), several[0])


def _one_step(listing: Listing, folder: str, found: list[Candidate], choice: Choice) -> list[Candidate]:
    """Of steps of one training take the best, by name, or the last. A link to one (best.pth) tells of it too."""
    groups: dict[str, list[tuple[int, tuple[list[int], str], Candidate]]] = {}
    for one in found:
        if one.target.index_path is None and one.target.reader is None and one.target.shards is None:
            steps = [step for name in (one.name, *one.links) if (step := step_of(name)) is not None]
            if steps:
                rank = max(step.rank for step in steps)
                groups.setdefault(steps[0].model, []).append((rank, natural(one.name), one))
    taken = []
    for several in groups.values():
        if len(several) > 1:
            several.sort(key=lambda row: row[:2])
            rank, _, best = several[-1]
            others = [one for _, _, one in several[:-1]]
            taken += [best, *others]
            why = (f"the last of {len(several):,} steps", "called the last", "called the best")[rank]
            shown = ", ".join(one.name for one in others[-5:][::-1]) + (", …" if len(others) > 5 else "")
            said = f"{best.name}: {why}; beside it {'are' if len(others) > 1 else 'is'} {shown}"
            _use(folder, best, choice, why, Note("steps", "info", listing.at(folder), said))
            for one in others:
                _say(folder, one, choice, Said(STEP, "of the same training"))
    return _without(found, taken)
