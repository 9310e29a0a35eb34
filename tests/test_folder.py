"""Folders as programs leave them: which checkpoints are meant, what everything else is, and that all bytes are told once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import modelscope_cli
from modelscope_cli.core.folder import SAME, STEP, Folder
from modelscope_cli.errors import ModelscopeError
from modelscope_cli.formats.folder import MOST_MODELS
from modelscope_cli.formats.folder_names import by_name
from modelscope_cli.formats.locate import locate
from tests.builders import folders
from tests.builders.folders import FOLDERS, Link, diffusers, pickled, quantisations, safe, trainer, under, write
from tests.builders.foreign import onnx

OLD, NEW = "f" * 40, "0" * 40
USED = {
    "repository": ["model.safetensors.index.json"],
    "trainer": ["checkpoint-1000/model.safetensors"],
    "deepspeed_trainer": ["model.safetensors"],
    "diffusers": [
        "unet/diffusion_pytorch_model.safetensors",
        "text_encoder/model.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
    ],
    "sentence_transformers": ["model.safetensors", "2_Dense/model.safetensors"],
    "adapter": ["adapter_model.safetensors"],
    "quantisations": ["tiny-chat.Q4_K_M.gguf", "mmproj-tiny-f16.gguf"],
    "meta": ["original/consolidated.00.pth"],
    "lightning": ["lightning_logs/version_1/checkpoints/epoch=10-step=1000.ckpt"],
    "epochs": ["best.pth"],
    "cache": [f"snapshots/{NEW}/model.safetensors"],
}


def used(folder: Path) -> list[str]:
    located = locate([str(folder)])
    assert not located.problems, located.problems
    return [os.path.relpath(target.index_path or target.path, folder) for target in located.found]


def contents(folder: Path) -> Folder:
    (found, *_) = locate([str(folder)]).found
    assert found.in_folder is not None
    return found.in_folder


def told(folder: Path) -> dict[str, tuple[str, str]]:
    """What is said of every name: (what, why)."""
    return {name: (entry.what, entry.why) for entry in contents(folder).entries for name in entry.names}


def disk_usage(folder: Path) -> int:
    """Bytes of all files, each once whatever its names; links to files are followed, links to folders not."""
    sizes = {}
    for root, _, names in os.walk(folder):
        for name in names:
            path = Path(root, name)
            if path.is_file():
                known = path.stat()
                sizes[known.st_dev, known.st_ino] = known.st_size
    return sum(sizes.values())


@pytest.mark.parametrize("kind", FOLDERS)
def test_the_checkpoints_that_are_meant(kind, tmp_path):
    assert used(write(tmp_path, FOLDERS[kind]())) == USED[kind]


@pytest.mark.parametrize("kind", FOLDERS)
def test_entries_add_up_to_the_folder(kind, tmp_path):
    folder = contents(write(tmp_path, FOLDERS[kind]()))
    assert folder.nbytes == disk_usage(tmp_path)
    assert all(entry.nbytes > 0 or entry.files <= 1 for entry in folder.entries if entry.files)
    assert not folder.cut


@pytest.mark.parametrize("kind", FOLDERS)
def test_every_file_can_be_read_through_its_folder(kind, tmp_path):
    assert len(modelscope_cli.read(str(write(tmp_path, FOLDERS[kind]()))).tensors) > 0


def test_copies_of_a_repository_and_why_they_are(tmp_path):
    said = told(write(tmp_path, folders.repository()))
    copies = {name: why for name, (what, why) in said.items() if what == SAME}
    assert copies == {
        "pytorch_model.bin": "pickled: safetensors come first",
        "model.fp16.safetensors": "the fp16 variant",
        "consolidated.safetensors": "in its makers' layout",
        "tf_model.h5": "for TensorFlow or Keras",
        "flax_model.msgpack": "for Flax",
        "original/": "as first published",
        "onnx/": "exported to ONNX",
        "openvino/": "exported to OpenVINO",
        "tiny.Q8_0.gguf": "converted for llama.cpp, Q8_0",
    }
    assert {said[name][0] for name in folders.TOKENS} == {"tokenizer"}
    assert said["assets/curve.png"][0] == "images"
    assert said[".git/"][0] == said[".gitattributes"][0] == "hidden"
    assert said["modeling_tiny.py"][0] == "code"
    assert said["LICENSE"][0] == "documentation"


def test_weights_of_a_set_are_one_entry(tmp_path):
    (entry,) = [entry for entry in contents(write(tmp_path, folders.repository())).entries if entry.used]
    assert sorted(entry.names) == sorted(folders.two_shards())
    assert entry.nbytes == sum(len(data) for data in folders.two_shards().values())


def test_the_best_step_is_that_of_the_trainer_state(tmp_path):
    write(tmp_path, trainer((500, 1000, 1500), "/gone/elsewhere/out/checkpoint-500"))
    assert used(tmp_path) == ["checkpoint-500/model.safetensors"]
    assert told(tmp_path)["checkpoint-500/model.safetensors"] == ("weights", "the best (trainer_state.json) of 3 steps")
    (note,) = [note for note in modelscope_cli.read(str(tmp_path)).notes if note.code == "steps"]
    assert "checkpoint-1500, checkpoint-1000" in note.message


def test_a_best_step_that_was_deleted_leaves_the_last(tmp_path):
    assert used(write(tmp_path, trainer((500, 1000), "out/checkpoint-250"))) == ["checkpoint-1000/model.safetensors"]


def test_the_final_save_comes_before_its_steps(tmp_path):
    write(tmp_path, trainer((500, 1000), final=True))
    assert used(tmp_path) == ["model.safetensors"]
    steps = [entry for entry in contents(tmp_path).entries if entry.what == STEP]
    assert sorted(entry.names for entry in steps) == [("checkpoint-1000/",), ("checkpoint-500/",)]
    assert all(entry.nbytes == disk_usage(tmp_path / entry.names[0]) for entry in steps)


def test_steps_are_ordered_by_number(tmp_path):
    assert used(write(tmp_path, trainer((900, 10000)))) == ["checkpoint-10000/model.safetensors"]


def test_zero_state_beside_gathered_weights_is_optimizer_state(tmp_path):
    said = told(write(tmp_path, folders.deepspeed_trainer()))
    assert said["global_step20/"] == ("optimizer state", "DeepSpeed: optimizer state and the weights in fp32")
    assert said["rng_state_0.pth"][0] == "random state"


def test_a_pipeline_in_one_file_beside_its_components(tmp_path):
    said = told(write(tmp_path, diffusers()))
    assert said["v1-5-pruned.safetensors"] == (SAME, "the whole pipeline in one file")
    assert said["unet/diffusion_pytorch_model.fp16.safetensors"] == (SAME, "the fp16 variant")


@pytest.mark.parametrize("index", [b"", b"[]", b"{}", b'{"unet": 1}', b"[" * 100_000, b"\xff"], ids=range(6))
def test_an_index_of_a_pipeline_that_is_none_leaves_all_its_folders(index, tmp_path):
    write(tmp_path, {**diffusers(), "model_index.json": index})
    (tmp_path / "v1-5-pruned.safetensors").unlink()
    assert sorted(used(tmp_path)) == sorted(USED["diffusers"])


@pytest.mark.parametrize(
    ("kinds", "taken"),
    [
        (("F16", "Q4_K_M", "Q8_0"), "Q4_K_M"),
        (("F16", "Q8_0"), "Q8_0"),
        (("F16", "Q5_K_S"), "F16"),
        (("BF16", "UD-Q4_K_M"), "UD-Q4_K_M"),
    ],
)
def test_the_quantisation_that_llama_cpp_takes(kinds, taken, tmp_path):
    one = quantisations()["tiny-chat.Q8_0.gguf"]
    write(tmp_path, {f"tiny-{kind}.gguf": one for kind in kinds})
    assert used(tmp_path) == [f"tiny-{taken}.gguf"]
    others = {f"tiny-{kind}.gguf": (SAME, f"quantised as {kind}") for kind in kinds if kind != taken}
    assert {name: said for name, said in told(tmp_path).items() if said[0] == SAME} == others


def test_quantisations_in_folders_of_their_own(tmp_path):
    files = quantisations()
    write(tmp_path, {f"{name}/m-{name}.gguf": files[f"tiny-chat.{name}.gguf"] for name in ("Q8_0", "Q4_K_M")})
    assert used(tmp_path) == ["Q4_K_M/m-Q4_K_M.gguf"]
    assert told(tmp_path)["Q8_0/"] == (SAME, "quantised as Q8_0")


def test_different_models_in_gguf_all_come(tmp_path):
    one = quantisations()["tiny-chat.Q8_0.gguf"]
    assert used(write(tmp_path, {"a.Q8_0.gguf": one, "b.Q8_0.gguf": one})) == ["a.Q8_0.gguf", "b.Q8_0.gguf"]


@pytest.mark.parametrize(
    ("names", "taken"),
    [
        (["epoch_9.pth", "epoch_10.pth"], ["epoch_10.pth"]),
        (["epoch_9.pth", "last.pth"], ["last.pth"]),
        (["last.pt", "best.pt", "epoch3.pt"], ["best.pt"]),
        (["model_0004999.pth", "model_0009999.pth", "model_final.pth"], ["model_final.pth"]),
        (["checkpoint12.pt", "checkpoint_best.pt", "checkpoint_last.pt"], ["checkpoint_best.pt"]),
        (["gen_epoch_1.pth", "gen_epoch_2.pth", "disc_epoch_1.pth", "disc_epoch_2.pth"], ["disc_epoch_2.pth", "gen_epoch_2.pth"]),
        (["resnet18.pth", "resnet50.pth"], ["resnet18.pth", "resnet50.pth"]),
        (["sleep5.pth", "sleep6.pth"], ["sleep5.pth", "sleep6.pth"]),
        (["best.pth", "vgg.pth"], ["best.pth", "vgg.pth"]),
        (["model_1.pth", "model_2.pth"], ["model_1.pth", "model_2.pth"]),
        (["unet.pth", "optimizer.pt", "rng_state.pth"], ["unet.pth"]),
        (["optimizer.pt", "scheduler.pt"], ["optimizer.pt", "scheduler.pt"]),
        (["model.pth", "tokenizer.model"], ["model.pth"]),
    ],
)  # fmt: skip
def test_steps_of_one_training_and_models_of_their_own(names, taken, tmp_path):
    assert used(write(tmp_path, {name: pickled() for name in names})) == taken


def test_a_folder_that_is_called_like_the_state_of_a_training_is_none(tmp_path):
    write(tmp_path, {"optimizer.pt/data": b"a"})
    (problem,) = locate([str(tmp_path)]).problems
    assert (str(problem), problem.hint) == (f"{tmp_path}: a folder without a model file", "look in its folders: optimizer.pt")


def test_a_link_to_the_best_step_makes_it_the_best(tmp_path):
    files = {f"epoch_{number}.pth": pickled(number) for number in (1, 2, 3)} | {"best.pth": Link("epoch_2.pth")}
    assert used(write(tmp_path, files)) == ["epoch_2.pth"]
    assert told(tmp_path)["best.pth"] == ("another name", "of epoch_2.pth")


def test_hard_links_are_counted_once(tmp_path):
    write(tmp_path, {"epoch_1.pth": pickled(30), "epoch_2.pth": pickled(31)})
    os.link(tmp_path / "epoch_2.pth", tmp_path / "again.dat")
    assert contents(tmp_path).nbytes == disk_usage(tmp_path) == len(pickled(30)) + len(pickled(31))


def test_a_cache_without_a_main_reference_takes_the_newest_revision(tmp_path):
    write(tmp_path, folders.cache())
    (tmp_path / "refs" / "main").unlink()
    os.utime(tmp_path / "snapshots" / NEW, (1, 1))
    assert used(tmp_path) == [f"snapshots/{OLD}/model.safetensors"]


def test_snapshots_of_a_cache_named_by_themselves(tmp_path):
    write(tmp_path, folders.cache())
    assert used(tmp_path / "snapshots") == [f"{NEW}/model.safetensors"]
    one = contents(tmp_path / "snapshots" / NEW)
    assert one.nbytes == len(safe()) + len(folders.CONFIG)  # what the links lead to, though it lies elsewhere


def test_blobs_of_a_cache_are_counted_under_their_names(tmp_path):
    said = told(write(tmp_path, folders.cache()))
    assert said["blobs/"][0] == "another name"
    assert said[f"snapshots/{OLD}/"][0] == "another name"


def test_a_folder_of_caches(tmp_path):
    for name in ("models--a--one", "models--b--two"):
        write(tmp_path / name, folders.cache())
    assert used(tmp_path) == [f"models--{name}/snapshots/{NEW}/model.safetensors" for name in ("a--one", "b--two")]


def test_models_in_folders_all_come_up_to_a_number(tmp_path):
    files = {f"{name}/model.safetensors": safe() for name in ("ant", "bee", "cat")}
    assert used(write(tmp_path, files)) == sorted(files)
    write(tmp_path, {f"more{'x' * number}/model.safetensors": safe() for number in range(MOST_MODELS)})
    (problem,) = locate([str(tmp_path)]).problems
    assert problem.message == f"a folder of {MOST_MODELS + 3} models"
    assert "ant, bee, cat" in problem.hint


def test_an_export_in_a_folder_of_several_models_is_no_copy(tmp_path):
    said = told(write(tmp_path, {"a.pth": pickled(), "b.pth": pickled(), "c.onnx": b"x"}))
    assert said["c.onnx"] == ("another model", "exported to ONNX")


def test_a_folder_with_models_of_other_programs_names_them(tmp_path):
    write(tmp_path, {"inner/model.onnx": onnx(), "inner/model.tflite": b"y"})
    with pytest.raises(ModelscopeError) as caught:
        modelscope_cli.read(str(tmp_path))
    assert caught.value.message == "this is a folder with an ONNX model (inner/model.onnx)"


def test_content_tells_where_names_do_not(tmp_path):
    files = {"model.safetensors": safe(), "a1b2c3": safe(), "picture": b"\x89PNG\r\n\x1a\n" + bytes(9), "nothing": b""}
    said = told(write(tmp_path, files))
    assert said["a1b2c3"] == ("another model", "safetensors, by its content: name it to see it")
    assert said["picture"][0] == "images"
    assert said["nothing"] == ("other", "empty")


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("optimizer.pt", "optimizer state"),
        ("optim_states.pt", "optimizer state"),
        ("scheduler.pt", "scheduler"),
        ("scaler.pt", "gradient scaler"),
        ("random_states_3.pkl", "random state"),
        ("events.out.tfevents.17.host", "training record"),
        ("trainer_state.json", "training record"),
        ("spiece.model", "tokenizer"),
        ("vocab.json", "tokenizer"),
        ("tokenizer.model.v3", "tokenizer"),
        ("preprocessor_config.json", "configuration"),
        ("params.json", "configuration"),
        ("Modelfile", "configuration"),
        ("README", "documentation"),
        ("requirements.txt", "code"),
        ("model.onnx_data", SAME),
        ("curve.JPG", "images"),
    ],
)
def test_what_names_tell(name, what):
    said = by_name(name)
    assert said is not None
    assert said.what == what


@pytest.mark.parametrize(
    "name",
    ["model.safetensors", "pytorch_model.bin", "model_optim_rng.pt", "net_with_optimizer.pt", "x.Q8_0.gguf", "epoch_1.pth"],
)
def test_names_that_may_be_models(name):
    assert by_name(name) is None


def test_nested_components_keep_their_paths(tmp_path):
    write(tmp_path, under("snapshot", diffusers()))
    assert used(tmp_path) == [f"snapshot/{name}" for name in USED["diffusers"]]
