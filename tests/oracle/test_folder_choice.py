"""Of several forms of one model in a folder, the one that is shown is the one that transformers' from_pretrained loads."""

from __future__ import annotations

import itertools
import os

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
safetensors = pytest.importorskip("safetensors.torch")

from modelscope_cli.formats.locate import locate  # noqa: E402

pytestmark = pytest.mark.oracle
NAME = "model.safetensors"
FORMS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "model.fp16.safetensors")
SETS = [forms for count in range(1, 5) for forms in itertools.combinations(FORMS, count) if forms != FORMS[3:]]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A model of transformers, in a folder by itself."""
    folder = tmp_path_factory.mktemp("saved")
    config = transformers.BertConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, vocab_size=11, max_position_embeddings=4
    )
    transformers.BertModel(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("forms", SETS, ids="+".join)
def test_the_form_that_is_loaded(forms, saved, tmp_path):
    (tmp_path / "config.json").write_bytes((saved / "config.json").read_bytes())
    weights = safetensors.load_file(saved / NAME)
    for number, form in enumerate(forms, start=1):
        marked = {name: torch.full_like(tensor, number) for name, tensor in weights.items()}
        if form.endswith(".bin"):
            torch.save(marked, tmp_path / form)
        elif form.endswith(".json"):
            import json

            shard = "model-00001-of-00001.safetensors"
            safetensors.save_file(marked, tmp_path / shard, {"format": "pt"})
            index = {"metadata": {"total_size": 1}, "weight_map": dict.fromkeys(marked, shard)}
            (tmp_path / form).write_text(json.dumps(index))
        else:
            safetensors.save_file(marked, tmp_path / form, {"format": "pt"})
    loaded = transformers.BertModel.from_pretrained(tmp_path)
    (target,) = locate([str(tmp_path)]).found
    shown = os.path.basename(target.index_path or target.path)
    assert forms[int(loaded.embeddings.word_embeddings.weight[0, 0]) - 1] == shown
