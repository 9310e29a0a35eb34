"""adapter_config.json, by which PEFT imports modules: that of the model's class, and one in place of megatron.core.

    "auto_mapping": {"base_model_class": "Net", "parent_library": "shop.nets"}     AutoPeftModel.from_pretrained imports shop.nets
    "megatron_core": "megatron.core", "megatron_config": {…}                       LoRA imports it where the second is given

PEFT before 0.20 imports whatever is named, so a Python file in the working folder, too; later versions refuse other libraries than
transformers, diffusers, lerobot and megatron, unless told otherwise.
Facts: peft/auto.py (_BaseAutoPeftModel.from_pretrained), peft/tuners/lora/tp_layer.py (dispatch_megatron).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelscope_cli.formats.scan_asked import Asked, asked_of_names, folder_of, keep_asked

if TYPE_CHECKING:
    from modelscope_cli.formats.scanning import Walk

BY_PEFT = "PEFT before 0.20 runs without asking"
BY_ANY_PEFT = "PEFT runs without asking where the library is not installed"
# Libraries whose modules are imported anyway, and the running program itself.
OWN = ("transformers", "diffusers", "lerobot", "megatron", "torch", "sentence_transformers", "timm", "peft", "__main__")
PLANTED = ("diffusers", "lerobot", "megatron", "sentence_transformers", "timm")  # those of them that may be missing
LONGEST = 120  # characters of a name that are shown


def scan_adapter(walk: Walk, where: str, document: Any) -> None:
    """Look at the configuration of an adapter."""
    keep_asked(walk, where, asked_by_peft(folder_of(walk, where), document))
    if foreign := _foreign(document):
        named = " and ".join(name[:LONGEST] for name in foreign)
        walk.sign("custom-code", where, f"it names {named}, which PEFT before 0.20 imports without asking")


def asked_by_peft(folder: str, document: Any) -> list[Asked]:
    """What the configuration of an adapter asks for: also a library of those that stands beside it, where it is not installed."""
    foreign = _foreign(document)
    libraries = [name for name in _named(document) if name not in foreign and name.partition(".")[0] in PLANTED]
    if not (isinstance(document, dict) and document.get("megatron_config")):
        libraries = [name for name in libraries if name.partition(".")[0] != "megatron"]
    asked = [asked_of_names(folder, foreign, BY_PEFT)] if foreign else []
    return asked + ([asked_of_names(folder, libraries, BY_ANY_PEFT)] if libraries else [])


def _foreign(document: Any) -> list[str]:
    """The modules that are named and of no library that is imported anyway."""
    return [name for name in _named(document) if name.partition(".")[0] not in OWN]


def _named(document: Any) -> list[str]:
    if not isinstance(document, dict):
        return []
    mapping = document.get("auto_mapping")
    values = [mapping.get("parent_library") if isinstance(mapping, dict) else None, document.get("megatron_core")]
    return list(dict.fromkeys(value for value in values if isinstance(value, str) and value))
