"""Imports what every program needs that makes a Llama and calls it: the least that a picture of its calls can take."""

import torch  # noqa: F401
import torchviz  # noqa: F401
from transformers.models.llama import LlamaForCausalLM  # noqa: F401
