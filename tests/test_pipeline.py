"""examples/pipeline: its commands judge models made by real torch as they should, and its reports are those of today."""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

import modelscope_cli
from modelscope_cli.render.cells import words as cell_words
from modelscope_cli.report.document import Bytes
from tests.builders.safetensors_file import safetensors_bytes
from tests.command import mscope

ROOT = Path(__file__).resolve().parent.parent
PIPELINE = ROOT / "examples" / "pipeline"
SAVED = sorted(str(path.relative_to(PIPELINE)) for path in (PIPELINE / "reports").rglob("*") if path.is_file())
BROKEN = ("grown", "untied", "with_optimizer")
MODELS = ("model", *BROKEN, "wrapped")
REAL_TORCH = pytest.mark.oracle


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A copy of the pipeline in another place, after its models were made and it ran."""
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("somewhere") / "pipeline"
    shutil.copytree(PIPELINE, folder, ignore=shutil.ignore_patterns("models", "reports", "__pycache__"))
    (folder / ".git").mkdir()
    done = run(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 models judged as they should be" in done.stdout
    return folder


@pytest.fixture(scope="module")
def nets() -> dict[str, Any]:
    """The models themselves, to count in."""
    pytest.importorskip("torch")
    spec = importlib.util.spec_from_file_location("make_models", PIPELINE / "make_models.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {"module": module, **module.models()}


def run(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(folder / "run.py")]
    return subprocess.run(command, cwd=folder.parent, capture_output=True, encoding="utf-8", timeout=300, check=False)


def parameters(module: Any) -> int:
    """As torch counts them: one that is shared once."""
    return sum(parameter.numel() for parameter in module.parameters())


def verdicts(folder: Path, model: str) -> str:
    """What `mscope check` said, without the breaks of its lines."""
    return " ".join((folder / "reports" / model / "checks.txt").read_text(encoding="utf-8").split())


def failed(folder: Path, model: str) -> set[str]:
    """The rules that the JUnit file has as failed."""
    cases = ElementTree.parse(folder / "reports" / model / "checks.xml").getroot().iter("testcase")
    return {case.attrib["name"] for case in cases if case.find("failure") is not None}


def kib(nbytes: int) -> str:
    return cell_words(Bytes(nbytes), "iec")


# The models and what is said of them ----------------------------------------------------------------------------------


@REAL_TORCH
def test_the_models_are_what_torch_made(made, nets):
    import torch
    from safetensors.torch import load_file

    for name in ("model", "grown", "untied", "wrapped"):
        read = modelscope_cli.read(str(made / "models" / f"{name}.safetensors"))
        stored = load_file(made / "models" / f"{name}.safetensors")
        assert sum(tensor.numel() for tensor in stored.values()) == parameters(nets[name])
        missing = set(nets[name].state_dict()) - {tensor.name for tensor in read.tensors}
        assert missing == {"untied": set(), "wrapped": {"module.lm_head.weight"}}.get(name, {"lm_head.weight"})
    resumed = torch.load(made / "models" / "with_optimizer.pt", weights_only=True)
    assert set(resumed) == {"epoch", "model", "optimizer"}
    assert set(resumed["model"]) == set(nets["model"].state_dict())


@REAL_TORCH
def test_the_accepted_model_passes(made, nets):
    said = verdicts(made, "model")
    assert f"{parameters(nets['model']):,} parameters of at most 350,000" in said
    assert "✗" not in said
    assert failed(made, "model") == set()


@REAL_TORCH
def test_one_layer_more(made, nets):
    total, layer = parameters(nets["grown"]), parameters(nets["grown"].layers[4])
    assert total == parameters(nets["model"]) + layer
    old, new = ((made / "models" / f"{name}.safetensors").stat().st_size for name in ("model", "grown"))
    said = verdicts(made, "grown")
    assert failed(made, "grown") == {"max-growth", "max-parameters"}
    assert f"grew by {kib(new - old)} ({(new - old) / old:.1%})".replace("%", " %") in said
    assert f"most of it is layers.4 (new) +{kib(4 * layer)}" in said
    assert (
        f"{total:,} parameters, {total - 350_000:,} above 350,000; most of it is layers.4 (new) +{layer:,} parameters" in said
    )


@REAL_TORCH
def test_a_training_checkpoint(made, nets):
    import torch

    path = made / "models" / "with_optimizer.pt"
    state = torch.load(path, weights_only=True)["optimizer"]["state"]
    tensors = [tensor for each in state.values() for tensor in each.values()]
    nbytes = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    assert nbytes > 2 * 4 * parameters(nets["model"])
    said = verdicts(made, "with_optimizer")
    assert failed(made, "with_optimizer") == {"max-growth", "forbid-optimizer-state"}
    share = f"{nbytes / path.stat().st_size * 100:.1f} % of the file"
    assert f"optimizer holds AdamW state (step, exp_avg, exp_avg_sq): {kib(nbytes)} in {len(tensors)} tensors, {share}" in said
    assert f"{parameters(nets['model']):,} parameters of at most 350,000" in said


@REAL_TORCH
def test_a_head_that_is_no_longer_tied(made, nets):
    head = nets["untied"].lm_head.weight.numel()
    total = parameters(nets["untied"])
    assert total == parameters(nets["model"]) + head
    said = verdicts(made, "untied")
    assert failed(made, "untied") == {"max-growth", "max-parameters", "forbid-untied-head"}
    assert f"lm_head has a storage of its own: {head:,} parameters, {kib(4 * head)} more than tied" in said
    assert f"{total:,} parameters, {total - 350_000:,} above 350,000" in said


@REAL_TORCH
def test_names_in_a_wrapper_pass_and_show_as_one_rename(made, nets):
    assert failed(made, "wrapped") == set()
    page = (made / "reports" / "wrapped" / "diff.md").read_text(encoding="utf-8")
    assert re.search(rf"\| +`?\\?\*`? +\| +`?module\.\\?\*`? +\| +{len(nets['wrapped'].state_dict())} +\|", page)


@REAL_TORCH
def test_a_command_that_does_not_end_as_it_should_is_noticed(made, tmp_path):
    folder = tmp_path / "pipeline"
    shutil.copytree(made, folder)
    rules = folder / "mscope.toml"
    rules.write_text(rules.read_text(encoding="utf-8").replace("350 k", "327 k"), encoding="utf-8")
    done = run(folder)
    assert done.returncode == 1
    assert "not as it should be: model.safetensors, wrapped.safetensors" in done.stdout


# What is committed ----------------------------------------------------------------------------------------------------


def settled(text: str) -> str:
    """Without the drawing of a page, which Graphviz and graphviz-pure write in other words."""
    return re.sub(r'<div class="picture">.*', "", text)


@REAL_TORCH
@pytest.mark.parametrize("name", SAVED)
def test_a_committed_report_is_what_is_written_now(made, name):
    """Otherwise: python examples/pipeline/run.py --save"""
    if "with_optimizer" in name:  # the layout of a file of torch.save depends on the version of torch
        said = (PIPELINE / "reports" / "with_optimizer" / "checks.txt").read_text(encoding="utf-8")
        if f"{(made / 'models' / 'with_optimizer.pt').stat().st_size:,} bytes" not in said:
            pytest.skip("another torch than the one that wrote it")
    now, saved = (settled((folder / name).read_bytes().decode()) for folder in (made, PIPELINE))
    assert now == saved


@REAL_TORCH
def test_there_is_a_committed_report_of_everything(made):
    written = sorted(str(path.relative_to(made)) for path in (made / "reports").rglob("*") if path.is_file())
    assert written == SAVED
    assert {Path(name).parent.name for name in SAVED} == set(MODELS)


@REAL_TORCH
def test_the_committed_baseline_is_that_of_the_model(made):
    done = mscope("baseline", "save", made / "models" / "model.safetensors", "-o", "-")
    assert done.out == (PIPELINE / "model.baseline.json").read_text(encoding="utf-8")


def test_reports_do_not_say_where_or_when_they_were_made():
    places = re.compile(r"/(?:home|root|tmp|work|Users|var)/|[A-Z]:\\|\b20\d\d-\d\d-\d\d\b|\b\d\d:\d\d:\d\d\b")
    for name in SAVED:
        assert not places.search((PIPELINE / name).read_text(encoding="utf-8")), name
    assert sum((PIPELINE / name).stat().st_size for name in SAVED) < 600_000


# What the pages say ---------------------------------------------------------------------------------------------------


PAGES = (ROOT / "docs" / "ci.md", PIPELINE / "README.md", PIPELINE / "workflow.yml", PIPELINE / "gitlab-ci.yml")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
PLACES = {"PATH": "weights.pth", "PATH…": "weights.pth", "OLD": "model.baseline.json", "NEW": "weights.pth"}


def blocks(page: Path, language: str) -> list[str]:
    return [text for found, text in BLOCK.findall(page.read_text(encoding="utf-8")) if found == language]


def commands() -> list[list[str]]:
    """Every `mscope …` of the pages, on lines of its own or within backticks, as arguments; once each."""
    found: dict[str, None] = {}
    for page in PAGES:
        for line in page.read_text(encoding="utf-8").splitlines():
            inside = re.findall(r"`(mscope [^`]+)`", line)
            found |= dict.fromkeys(inside or re.findall(r"^(?:[ -]|\$ |run: )*(mscope .*)", line))
    return [[PLACES.get(word, word) for word in shlex.split(line, comments=True)[1:]] for line in found]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A repository with the files that the pages speak of."""
    monkeypatch.chdir(tmp_path)
    data = safetensors_bytes({"embedding.weight": ("F32", (4, 2)), "decoder.layers.0.weight": ("F32", (4, 3))})
    for name in ("weights.pth", "weights/model.safetensors", "models/model.safetensors"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    (tmp_path / ".git").mkdir()
    assert mscope("baseline", "save", "weights.pth", "-o", "model.baseline.json").code == 0
    return tmp_path


def test_every_command_works(project):
    ran = commands()
    assert {words[0] for words in ran} == {"report", "check", "diff", "init", "baseline", "scan"}
    (project / "summary.md").touch()
    for words in sorted(ran, key=lambda words: words[0] != "init"):  # the rules first
        if words not in (["check"], ["diff"], ["report"], ["scan"], ["baseline", "save"]):
            done = mscope(*words, GITHUB_STEP_SUMMARY=str(project / "summary.md"))
            assert done.code == 0, (words, done)
        else:  # a command that is spoken of
            assert mscope(*words, "--help").code == 0


def test_every_block_of_yaml_is_yaml_that_fits_the_action():
    yaml = pytest.importorskip("yaml")
    action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    texts = [text for page in PAGES[:2] for text in blocks(page, "yaml")]
    texts += [page.read_text(encoding="utf-8") for page in PAGES[2:]]
    used = []
    for text in texts:
        value = yaml.safe_load(text)
        steps = value if isinstance(value, list) else value.get("jobs", {}).get("model", {}).get("steps", [])
        used += [step for step in steps if "modelscope_cli" in step.get("uses", "")]
        assert set(re.findall(r"steps\.model\.outputs\.(\w+)", text)) <= set(action["outputs"])
    assert len(used) == 2
    for step in used:
        assert step["id"] == "model"
        assert {"path"} <= set(step["with"]) <= set(action["inputs"])


def test_the_jobs_that_are_written_down():
    yaml = pytest.importorskip("yaml")
    github = yaml.safe_load((PIPELINE / "workflow.yml").read_text(encoding="utf-8"))
    assert github["permissions"] == {"contents": "read", "pull-requests": "write"}
    assert not [step["run"] for step in github["jobs"]["model"]["steps"] if "${{" in step.get("run", "")]
    gitlab = yaml.safe_load((PIPELINE / "gitlab-ci.yml").read_text(encoding="utf-8"))["model"]
    written = {word for line in gitlab["script"] for word in shlex.split(line) if word.endswith((".html", ".md", ".xml"))}
    assert {*gitlab["artifacts"]["paths"], gitlab["artifacts"]["reports"]["junit"]} == written


def test_the_rules_that_are_written_down():
    from modelscope_cli.checks.settings import settings_of

    for text in (*blocks(PAGES[0], "toml"), (PIPELINE / "mscope.toml").read_text(encoding="utf-8")):
        assert len(settings_of(tomllib.loads(text), "mscope.toml", ".").demands) >= 7


def test_the_test_that_is_written_down(project):
    (code,) = blocks(PAGES[0], "python")
    names: dict[str, Any] = {}
    exec(code, names)
    names["test_model_keeps_its_limits"]()
    large = safetensors_bytes({"embedding.weight": ("F32", (40, 2)), "decoder.layers.0.weight": ("F32", (4, 3))})
    (project / "weights.pth").write_bytes(large)
    with pytest.raises(AssertionError, match=r"\n✗ max-share embedding: .* 87\.0 %"):
        names["test_model_keeps_its_limits"]()


def test_the_readme_quotes_the_reports():
    readme = PIPELINE / "README.md"
    for model, text in zip(("grown", "with_optimizer", "untied"), blocks(readme, "text"), strict=True):
        said = [line.strip() for line in (PIPELINE / "reports" / model / "checks.txt").read_text(encoding="utf-8").splitlines()]
        lines = [line.strip() for line in text.splitlines()]
        assert any(said[start : start + len(lines)] == lines for start in range(len(said)))


def test_the_readme_links_to_what_is_there():
    for target in re.findall(r"\]\(([^)\s]+)\)", (PIPELINE / "README.md").read_text(encoding="utf-8")):
        assert (PIPELINE / target).exists(), target
