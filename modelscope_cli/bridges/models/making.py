"""Making the model that a file holds the weights of, and what it is called with.

    --model package.module:factory      the user's own code                       on fake, meta or real tensors
    TorchScript, a pickled module       loaded from the file: with --trust-code only
    config.json beside the weights      a class of transformers

On FAKE or META tensors nothing takes memory, whatever the size of the model: there are shapes, and no values.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

from modelscope_cli.analysis.fit import Fit, fit
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.bridges.extras import need
from modelscope_cli.bridges.models import from_config, trusted
from modelscope_cli.bridges.models.drawn_inputs import draw_inputs
from modelscope_cli.bridges.models.factory import call_factory, find_factory
from modelscope_cli.bridges.models.failing import FailedOnTheseError
from modelscope_cli.bridges.models.input_specs import EXAMPLE, InputSpec, parse_all
from modelscope_cli.bridges.models.quiet import quiet
from modelscope_cli.bridges.models.recipe import Recipe
from modelscope_cli.bridges.models.repeated import keep_first
from modelscope_cli.core.checkpoint import CONFIG_FILE, Checkpoint
from modelscope_cli.errors import DrawingError

FAKE, META, REAL = "fake", "meta", "cpu"
SMALL = 1 << 28  # elements of a model that may be made with values: 1 GiB in float32
SMALL_INPUTS = 1 << 24
NO_MODEL = "this draws what a model does, and the file holds weights alone: no config.json that says of what model is beside it"
NO_MODEL_HINT = (
    "--model package.module:factory --input 'int64[1,50]<98631' names the code that makes it and what it is called with; "
    "--engine diagram needs neither"
)


class Made(NamedTuple):
    """A model with what to call it with. `said`: how it was made. `mode`: work with it inside of this context.

    `advice`: what to try when calling it fails.
    """

    module: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    said: str
    warnings: tuple[str, ...]
    specs: tuple[InputSpec, ...]
    mode: AbstractContextManager[Any]
    advice: str


def make(
    checkpoint: Checkpoint,
    recipe: Recipe | None,
    *,
    on: str,
    first: int | None = None,
    force: bool = False,
    step: Callable[[str], None] = lambda text: None,
) -> Made:
    """The model behind a checkpoint, its tensors FAKE, on META or REAL; of repeated layers the `first` alone.

    Raises DrawingError when there is no model to make, it cannot be made, or the weights are another's (unless `force`),
    SettingsError for inputs that are not understood, and MissingExtraError.
    """
    recipe = recipe or Recipe()
    specs = parse_all(recipe.inputs)
    need("torch", "drawing what a model does", "torch")
    refuse_without_model(checkpoint, recipe)
    step("importing torch")
    with quiet():
        mode = tensors_on(on)
        with mode:
            module, said, specs, renamed = made(checkpoint, recipe, specs, on, step)
            warnings = misfit(checkpoint, module, renamed, force=force)
            if first is not None:
                left_out = keep_first(module, first)
                said += f", {'; '.join(left_out)}" if left_out else ""
            args, kwargs = draw_inputs(specs)
    if first is not None:
        advice = "leave out --layers: some models need all of them"
    else:
        called = "does --input say what it is called with?" if recipe.inputs else "--input says what it is called with,"
        advice = f"{called} --engine diagram needs no call"
    return Made(module, args, kwargs, said, warnings, tuple(specs), mode, advice)


def may_be_real(checkpoint: Checkpoint, recipe: Recipe | None) -> bool:
    """Whether the model may be made with values: code of the user's or code that is trusted, and small, by its own count.

    A config.json gets none: it comes with the file, and its numbers may ask for any amount.
    """
    if recipe is None or checkpoint.elements > SMALL:
        return False
    specs = parse_all(recipe.inputs)
    if sum(math.prod(spec.shape) for spec in specs) > SMALL_INPUTS:
        return False
    if not recipe.factory:
        return bool(recipe.trusted and trusted.holds_module(checkpoint))
    try:
        module = make(checkpoint, recipe, on=META, force=True).module
    except FailedOnTheseError:
        return True  # not to be counted without values; the file that it fits is small
    elements: int = sum(tensor.numel() for tensor in (*module.parameters(), *module.buffers()))
    return elements <= SMALL


def refuse_without_model(checkpoint: Checkpoint, recipe: Recipe) -> None:
    """Raise DrawingError where nothing says how the model is made, before a second is spent on importing torch."""
    if recipe.factory:
        if not recipe.inputs:
            raise DrawingError("--model needs --input: what is it called with?", hint=EXAMPLE)
        return
    inside = trusted.holds_module(checkpoint)
    if inside and recipe.trusted:
        if not recipe.inputs:
            raise DrawingError("a module from a file needs --input: what is it called with?", hint=EXAMPLE)
    elif checkpoint.config_from != CONFIG_FILE or not checkpoint.config:
        if "model_type" in (recipe.settings or {}):
            return
        raise trusted.why_untrusted(checkpoint) if inside else DrawingError(NO_MODEL, hint=NO_MODEL_HINT)


def tensors_on(on: str) -> AbstractContextManager[Any]:
    """The context in which new tensors are fake, on meta, or real."""
    import torch

    if on == FAKE:
        from torch._subclasses.fake_tensor import FakeTensorMode

        mode: AbstractContextManager[Any] = FakeTensorMode(allow_non_fake_inputs=True)
        return mode
    return torch.device("meta") if on == META else nullcontext()


def made(
    checkpoint: Checkpoint, recipe: Recipe, specs: list[InputSpec], on: str, step: Callable[[str], None]
) -> tuple[Any, str, list[InputSpec], Callable[[str], str] | None]:
    """(module, how it was made, what it is called with, how names of the file are called in it)."""
    if recipe.factory:
        step(f"making {recipe.factory}")
        module = call_factory(recipe.factory, find_factory(recipe.factory), recipe.settings)
        return module, f"{type_name(module)}, made by {os.path.basename(recipe.factory)}", specs, None
    if recipe.trusted and trusted.holds_module(checkpoint):
        step("loading the module in it")
        module = trusted.load_module(checkpoint, "meta" if on == META else "cpu")
        return module, f"the {type_name(module)} in the file", specs, None
    step("importing transformers")
    config = from_config.config_of(checkpoint, recipe.settings, trusted=recipe.trusted)
    step("making the model of config.json")
    module = from_config.make_module(config, checkpoint, trusted=recipe.trusted)
    source = "config.json" if checkpoint.config else "--config"
    said = f"{type_name(module)}, made by transformers {from_config.version()} from {source}"
    return module, said, specs or from_config.usual_inputs(module, config), from_config.renaming(module)


def misfit(checkpoint: Checkpoint, module: Any, renamed: Callable[[str], str] | None, *, force: bool) -> tuple[str, ...]:
    """What of the weights does not fit the model, in words. Raises DrawingError when it is another model."""
    found = fit_of(checkpoint, module, renamed)
    if found.perfect:
        return ()
    if "quantization_config" in checkpoint.config:
        many = len(found.extra) + len(found.differing)
        return (f"the file is quantised, so {many:,} of its tensors have other names or shapes than those of the model",)
    if found.hopeless and not force:
        share = f"{100 * found.fitting / found.whole:.1f} % of its elements have a place in the model"
        raise DrawingError(
            f"the weights are not those of this model ({share}): {'; '.join(found.words())}",
            hint="name the model with --model and its sizes with --config, or draw it all the same with --force",
        )
    return tuple(f"the weights do not all fit the model: {words}" for words in found.words())


def fit_of(checkpoint: Checkpoint, module: Any, renamed: Callable[[str], str] | None) -> Fit:
    """How the file fits the module."""
    shapes: dict[str, tuple[int, ...]] = {}
    tied: dict[str, str] = {}
    first_name: dict[int, str] = {}
    for name, tensor in module.state_dict(keep_vars=True).items():
        if not hasattr(tensor, "shape"):  # extra state of a module
            continue
        shapes[name] = tuple(tensor.shape)
        other = first_name.setdefault(id(tensor), name)
        if other != name:
            tied[name] = other
    for name, other in (getattr(module, "all_tied_weights_keys", None) or {}).items():
        tied[str(name)] = str(other)
    return fit(Ledger(checkpoint), shapes, tied, renamed)


def type_name(module: Any) -> str:
    return str(getattr(module, "original_name", type(module).__name__))
