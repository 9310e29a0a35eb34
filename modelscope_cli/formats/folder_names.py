"""What a file or folder is for, by its name: conventions of transformers, diffusers, accelerate, DeepSpeed, Lightning, llama.cpp.

A row is (pattern of the whole name, what it is, why it is thought so). The first row that matches counts; a suffix counts where
no row does. A model file that is none of these is for formats/folder_sets.py.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache
from typing import NamedTuple

from modelscope_cli.core.folder import (
    CODE,
    CONFIGURATION,
    DOCUMENTATION,
    IMAGES,
    OPTIMIZER,
    OTHER,
    RANDOM,
    RECORD,
    SAME,
    SCALER,
    SCHEDULER,
    TOKENIZER,
)

MODEL_SUFFIXES = (
    ".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".tar", ".pkl", ".pickle", ".model", ".th", ".t7", ".ptl", ".pt2", ".jit",
    ".distcp", ".gguf",
)  # fmt: skip


ARCHIVES = "archives"


class Said(NamedTuple):
    """What a file or folder is (of core/folder.py's ORDER), why, and whether a model is read from it."""

    what: str
    why: str = ""
    used: bool = False


FILES: tuple[tuple[str, str, str], ...] = (
    # training
    (r"optim(izer)?([-_]?\d+|[-_]states?\w*)?\.(pt|bin|pth|safetensors)|.*_optim_states\.pt|distrib_optim\.pt", OPTIMIZER, ""),
    (r"(lr_)?scheduler(_\d+)?\.(pt|bin|pth)", SCHEDULER, ""),
    (r"(grad_)?scaler(_\d+)?\.(pt|bin|pth)", SCALER, ""),
    (r"rng_state(_\d+)?\.(pth|pt)|random_states(_\d+)?\.pkl", RANDOM, ""),
    (
        r"training_args\.bin|trainer_state\.json|latest|latest_checkpointed_iteration\.txt|last_checkpoint|latest_checkpoint\.txt"
        r"|events\.out\.tfevents.*|(all|train|eval|test|predict)_results\.json|metrics\.(csv|json|jsonl)|results\.csv|.*\.log"
        r"|log_history\.json|train(ing)?_log.*|wandb-.*|sampler(_\d+)?\.bin|dl_state_dict\.bin|custom_checkpoint_\d+\.pkl",
        RECORD, "",
    ),
    # words and their numbers
    (
        r"tokenizer.*|.*\.tiktoken|vocab.*\.(json|txt|bpe)|merges.*\.txt|special_tokens_map\.json|added_tokens\.json|.*spiece\.model"
        r"|sentencepiece.*\.model|.*\.(spm|bpe\.model)|bpe\.codes|tekken\.json|chat_template.*|spm\.model|dict\.txt"
        r"|encoder\.json|normalizer\.json|.*tokenizer\.model(\.v\d+.*)?|.*tokenizer\.json|.*tokenization.*\.json",
        TOKENIZER, "",
    ),
    # other programs' forms of a model
    (r".*\.onnx([._]data.*)?|.*\.onnx_data(_\d+)?", SAME, "exported to ONNX"),
    (r"openvino_.*", SAME, "exported to OpenVINO"),
    (r"tf_model.*\.h5.*|.*\.(h5|hdf5|keras|weights)|saved_model\.pb|.*\.pb|.*\.ckpt\.(index|meta|data-.*)|model\.ckpt-.*", SAME, "for TensorFlow or Keras"),
    (r"flax_model.*|.*\.msgpack", SAME, "for Flax"),
    (r"rust_model\.ot|.*\.ot", SAME, "for Rust (tch)"),
    (r".*\.tflite", SAME, "exported to TensorFlow Lite"),
    (r".*\.(mlmodel|mlmodelc|mlpackage)", SAME, "exported to Core ML"),
    (r".*\.(engine|plan|trt)", SAME, "compiled for TensorRT"),
    (r".*\.pte", SAME, "exported to ExecuTorch"),
    (r"group\d+-shard\d+of\d+\.bin", SAME, "exported to TensorFlow.js"),
    # what tells how to read the rest
    (
        r".*config\w*\.(json|ya?ml|toml)|params\.json|model_index\.json|modules\.json|.*_config_\w+\.json|hparams\.ya?ml|args\.(json|ya?ml)"
        r"|.*\.index(\.\w+)?\.json|.*\.(ya?ml|toml|ini|cfg|gin)|.*_sentence_bert\w*\.json|generation_\w+\.json|preprocessor\w*\.json"
        r"|label(s|2id|_map\w*)\.(json|txt)|model\.json|quant\w*\.json|recipe\.\w+|modelfile|prompts?\.json|hyperparams\.\w+",
        CONFIGURATION, "",
    ),
    (r"requirements.*\.txt|dockerfile|makefile|setup\.(py|cfg)|cmakelists\.txt", CODE, ""),
    (r"(readme|licen[cs]e|notice|copying|citation|changelog|use_policy|acceptable_use).*|model_card.*|authors|code_of_conduct.*", DOCUMENTATION, ""),
    (r".*imatrix.*\.(gguf|dat)", OTHER, "importance matrix of a quantisation"),
    (r"checklist\.chk|sha256sums.*|md5sums.*|.*\.(sha256|md5)", OTHER, "checksums"),
)  # fmt: skip

SUFFIXES: dict[str, tuple[str, str]] = {
    **dict.fromkeys((".py", ".ipynb", ".sh", ".cu", ".cpp", ".cc", ".c", ".h", ".hpp", ".js", ".ts", ".rs", ".go", ".pyc"), (CODE, "")),
    **dict.fromkeys((".md", ".rst", ".pdf", ".txt", ".html", ".docx"), (DOCUMENTATION, "")),
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".gif", ".webp", ".svg", ".bmp", ".ico", ".tif", ".tiff"), (IMAGES, "")),
    **dict.fromkeys((".mp4", ".webm", ".wav", ".mp3", ".flac", ".ogg"), (OTHER, "sound and film")),
    **dict.fromkeys((".npy", ".npz", ".csv", ".tsv", ".parquet", ".arrow", ".jsonl", ".json", ".xml", ".h5ad", ".lmdb"), (OTHER, "data")),
    **dict.fromkeys((".zip", ".gz", ".tgz", ".zst", ".xz", ".bz2", ".7z", ".rar", ".whl"), (OTHER, ARCHIVES)),
}  # fmt: skip

# Folders of which the name tells what all of them is, where a model lies beside them.
FOLDERS: tuple[tuple[str, str, str], ...] = (
    (r"original", SAME, "as first published"),
    (r"onnx.*", SAME, "exported to ONNX"),
    (r"openvino.*", SAME, "exported to OpenVINO"),
    (r"coreml.*|.*\.ml(package|modelc)", SAME, "exported to Core ML"),
    (r"tflite.*", SAME, "exported to TensorFlow Lite"),
    (r"tfjs.*", SAME, "exported to TensorFlow.js"),
    (r"tf|tensorflow|saved_model", SAME, "for TensorFlow"),
    (r"ctranslate2.*|ct2.*", SAME, "converted for CTranslate2"),
    (r"flax", SAME, "for Flax"),
    (r"metal", SAME, "for Apple's Metal"),
    (r"gguf", SAME, "converted for llama.cpp"),
    (r"(non_)?ema", SAME, "averaged over the training, or not"),
    (r"fp16|bf16|fp32|float16|bfloat16|float32", SAME, "in another precision"),
    (r"optimizer(_\d+)?|global_step\d+_optimizer", OPTIMIZER, "optimizer state of a distributed training"),
    (r"runs|logs|tensorboard|tb_logs|wandb|mlruns", RECORD, "logs of the training"),
)
GLOBAL_STEP = re.compile(r"global_step\d+")
GLOBAL_STEP_WHY = "DeepSpeed: optimizer state and the weights in fp32"
NO_MODELS = re.compile(r"__pycache__|node_modules|site-packages|dist-packages|venv|env")

_FILES = [(re.compile(pattern, re.IGNORECASE), Said(what, why)) for pattern, what, why in FILES]
_FOLDERS = [(re.compile(pattern, re.IGNORECASE), Said(what, why)) for pattern, what, why in FOLDERS]
_BY_SUFFIX = {suffix: Said(what, why) for suffix, (what, why) in SUFFIXES.items()}
_ADAPTER = re.compile(
    r"adapters?(_model)?[._-].*|pytorch_lora_weights.*|.*[-_.]lora\.(safetensors|bin|pt)|learned_embeds.*", re.IGNORECASE
)


@lru_cache(1 << 16)
def by_name(name: str) -> Said | None:
    """What a file is; None for one that may hold a model, or of which the name does not tell."""
    for pattern, said in _FILES:
        if pattern.fullmatch(name):
            return said
    return _BY_SUFFIX.get(os.path.splitext(name)[1].lower())


def of_folder(name: str) -> Said | None:
    """What a folder beside a model is."""
    return next((said for pattern, said in _FOLDERS if pattern.fullmatch(name)), None)


def is_adapter(name: str) -> bool:
    """Whether a file holds what is added to a model that is not here."""
    return _ADAPTER.fullmatch(name) is not None


def may_hold_a_model(name: str) -> bool:
    """Whether a file is worth opening as a model."""
    return name.lower().endswith(MODEL_SUFFIXES) and by_name(name) is None
