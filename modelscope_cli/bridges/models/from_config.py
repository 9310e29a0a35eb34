"""The model that a config.json describes, made by transformers.

Only classes of the installed transformers are made: a config.json that names code beside it (`auto_map`) has that run only
where its user trusts it. Nothing is fetched. The weights' own precision and quantisation do not matter to a graph of calls,
so they are left out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from modelscope_cli.bridges.extras import need
from modelscope_cli.bridges.models.bounds import bounded
from modelscope_cli.bridges.models.failing import FailedOnTheseError, said
from modelscope_cli.bridges.models.input_specs import InputSpec
from modelscope_cli.core.checkpoint import Checkpoint
from modelscope_cli.errors import DrawingError

OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
LEFT_OUT = ("quantization_config", "torch_dtype", "dtype", "transformers_version")
KERNELS = re.compile(r"_?(attn|experts)_implementation\w*|use_kernels|kernel_config")  # code that a file must not choose
PLAIN_KERNELS = ("eager", "sdpa")  # its user may, of these
LISTS = re.compile(r".*(depths?|layers|blocks)")
COUNTS = (
    "num_hidden_layers",
    "num_layers",
    "n_layer",
    "n_layers",
    "encoder_layers",
    "decoder_layers",
    "num_decoder_layers",
    "depth",
)
OTHER_WAYS = "--model package.module:factory says how the model is made; --engine diagram infers it from names"
MOST_LABELS = 1_000_000
MOST_SECONDS, MOST_MEMORY = 30.0, 2 << 30  # of making one; a hundred layers take a second
LENGTH = 8  # tokens that a picture is traced with
SAMPLES = 16_000  # of sound, a second of most
IMAGE = 224  # pixels a side where the configuration does not say


def config_of(checkpoint: Checkpoint, settings: dict[str, Any] | None, *, trusted: bool) -> Any:
    """The configuration as transformers knows it, with the settings put over it. Raises DrawingError, or MissingExtraError."""
    need("torch", "making the model of a config.json", "transformers")
    os.environ.update(OFFLINE)
    from transformers import AutoConfig

    written = {**checkpoint.config, **(settings or {})}
    kind = written.get("model_type")
    if not isinstance(kind, str):
        raise DrawingError("the config.json beside the weights names no model_type", hint=OTHER_WAYS)
    refuse_more_layers(written, len(checkpoint.tensors))
    entries = {key: value for key, value in harmless(written).items() if key not in (*LEFT_OUT, "model_type")}
    entries |= {key: value for key, value in (settings or {}).items() if KERNELS.fullmatch(key) and value in PLAIN_KERNELS}
    folder = os.path.dirname(os.path.abspath(checkpoint.files[0].path))
    try:
        if trusted and "auto_map" in written:
            config = AutoConfig.from_pretrained(folder, trust_remote_code=True, **(settings or {}))
        else:
            with bounded("the configuration", MOST_SECONDS, MOST_MEMORY):
                config = AutoConfig.for_model(kind, **entries)
        config.use_cache = False
    except (KeyboardInterrupt, DrawingError):
        raise
    except Exception as problem:
        if isinstance(problem, ValueError) and "Unrecognized model identifier" in str(problem):
            hint = (
                f"its code is named in config.json and runs only with --trust-code; {OTHER_WAYS}"
                if "auto_map" in written
                else OTHER_WAYS
            )
            raise DrawingError(f"transformers {version()} knows no model_type {kind[:60]!r}", hint=hint) from None
        refuse_fetching(problem)
        raise DrawingError(f"transformers cannot use the config.json: {said(problem)}", hint=OTHER_WAYS) from None
    return config


def refuse_fetching(problem: Exception) -> None:
    """Raise DrawingError where the problem is that something lies elsewhere."""
    if "HF_HUB_OFFLINE" in str(problem) or "offline mode" in str(problem):
        raise DrawingError(
            "config.json names another model that would have to be fetched, and mscope fetches nothing", hint=OTHER_WAYS
        ) from None


def make_module(config: Any, checkpoint: Checkpoint, *, trusted: bool) -> Any:
    """The model, in eval mode as from_pretrained gives it. Raises DrawingError."""
    import transformers

    written = config.architectures
    names = [name for name in written if isinstance(name, str)] if isinstance(written, list) else []
    found = next((kind for name in names if is_model(kind := getattr(transformers, name, None))), None)
    config._experts_implementation = "batched_mm"  # the only way through experts that needs neither values nor bfloat16
    try:
        limit = bounded("the model of config.json", MOST_SECONDS, MOST_MEMORY)
        with limit, no_more_modules(20 * len(checkpoint.tensors) + 2_000):
            if found is not None:
                return found(config).eval()
            causal = any("CausalLM" in name for name in names)
            auto: Any = transformers.AutoModelForCausalLM if causal else transformers.AutoModel
            return auto.from_config(config, trust_remote_code=trusted).eval()
    except (KeyboardInterrupt, DrawingError):
        raise
    except Exception as problem:
        what = ", ".join(names)[:80] or config.model_type
        refuse_fetching(problem)
        raise FailedOnTheseError(f"transformers cannot make {what}: {said(problem)}", hint=OTHER_WAYS) from problem


@contextmanager
def no_more_modules(most: int) -> Iterator[None]:
    """Whatever number of a configuration asks for it: far more modules than the file has tensors are not made."""
    hooks: Any = import_module("torch.nn.modules.module")
    made = 0

    def count(*_: Any) -> None:
        nonlocal made
        made += 1
        if made > most:
            raise DrawingError(
                f"config.json asks for more than {most:,} modules, and the file is of far fewer", hint=OTHER_WAYS
            )

    handles = [hooks.register_module_module_registration_hook(count), hooks.register_module_parameter_registration_hook(count)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def is_model(kind: Any) -> bool:
    from transformers import PreTrainedModel

    return isinstance(kind, type) and issubclass(kind, PreTrainedModel)


def usual_inputs(module: Any, config: Any) -> list[InputSpec]:
    """What such a model is called with: tokens, a picture or sound. Raises DrawingError when that is not known."""
    main = module.main_input_name
    text = getattr(config, "text_config", None) or config
    if main == "input_ids":
        specs = [InputSpec(main, "int64", (1, LENGTH), number(text, "vocab_size", 2))]
    elif main == "pixel_values":
        vision = getattr(config, "vision_config", None) or config
        size = getattr(vision, "image_size", None) or IMAGE
        sides = (size, size) if isinstance(size, int) else tuple(size)[:2]
        specs = [InputSpec(main, "float32", (1, number(vision, "num_channels", 3), *sides))]
    elif main == "input_features":
        specs = [
            InputSpec(
                main, "float32", (1, number(config, "num_mel_bins", 80), 2 * number(config, "max_source_positions", 1500))
            )
        ]
    elif main == "input_values":
        specs = [InputSpec(main, "float32", (1, SAMPLES))]
    else:
        raise DrawingError(
            f"{type(module).__name__} is called with {main}; of what shape is not known", hint=f"--input '{main}=float32[1,…]'"
        )
    if getattr(config, "is_encoder_decoder", False):
        specs.append(InputSpec("decoder_input_ids", "int64", (1, LENGTH), number(text, "vocab_size", 2)))
    return specs


def renaming(module: Any) -> Callable[[str], str] | None:
    """What a name of the published files is called in this version of the module, where transformers merges or renames."""
    try:
        mapping: Any = import_module("transformers.conversion_mapping")
        loading: Any = import_module("transformers.core_model_loading")
        steps = mapping.get_model_conversion_mapping(module) or []
        renamings = [step for step in steps if isinstance(step, loading.WeightRenaming)]
        converters = [step for step in steps if isinstance(step, loading.WeightConverter)]
        rename = loading.rename_source_key
    except (ImportError, AttributeError):  # another release: then names are compared as they are
        return None
    return (lambda name: str(rename(name, renamings, converters)[0])) if steps else None


def harmless(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration, and those in it, without what chooses code to run it with."""
    return {
        key: harmless(value) if isinstance(value, dict) else value
        for key, value in config.items()
        if not KERNELS.fullmatch(key)
    }


def refuse_more_layers(config: dict[str, Any], tensors: int) -> None:
    """A layer has a tensor at least: more layers than tensors are not those of this file, and could take forever to make."""
    labels = config.get("num_labels")
    if isinstance(labels, int) and labels > MOST_LABELS:  # transformers writes a name for each
        raise DrawingError(f"config.json speaks of {labels:,} labels, more than {MOST_LABELS:,}")
    waiting = [config]
    while waiting:
        part = waiting.pop()
        waiting += [value for value in part.values() if isinstance(value, dict)]
        for key, value in part.items():
            many = value if key in COUNTS else whole(value) if LISTS.fullmatch(key) else None
            if isinstance(many, int) and many > max(tensors, 1):
                raise DrawingError(f"config.json speaks of {many:,} layers ({key}), but the file holds {tensors:,} tensors")


def whole(value: Any) -> int | None:
    """The sum of a list of numbers: layers a stage has."""
    listed = isinstance(value, list) and all(isinstance(each, int) for each in value)
    return sum(value) if listed else None


def number(config: Any, name: str, otherwise: int) -> int:
    value = getattr(config, name, None)
    return value if isinstance(value, int) and value > 0 else otherwise


def version() -> str:
    import transformers

    return str(transformers.__version__)
