"""action.yml does what it promises: its scripts run in bash as GitHub runs them, with inputs as the environment they become."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.builders.safetensors_file import safetensors_bytes
from tests.command import UNSET, mscope

yaml = pytest.importorskip("yaml")
BASH = shutil.which("bash")
pytestmark = pytest.mark.skipif(BASH is None, reason="no bash here")
ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "action.yml").read_text(encoding="utf-8")
ACTION: dict[str, Any] = yaml.safe_load(TEXT)
INSTALL, JUDGE = ACTION["runs"]["steps"]
EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")
MODEL = safetensors_bytes({"embed.weight": ("F32", (10, 4)), "head.weight": ("F16", (3, 4))})  # 52 parameters


class Ran(NamedTuple):
    """How a step ended, what it said, and what it handed to the steps after it."""

    code: int
    out: str
    err: str
    outputs: dict[str, str]
    summary: str


def run_step(step: dict[str, Any], root: Path, environment: dict[str, str], **inputs: str) -> Ran:
    """A step as GitHub runs it: expressions of its `env` filled in, its script in a file, bash as `shell: bash` starts it."""
    given = {name: inputs.get(name.replace("-", "_"), str(spec.get("default", ""))) for name, spec in ACTION["inputs"].items()}

    def value(text: str) -> str:
        return EXPRESSION.sub(lambda found: given[found[1].removeprefix("inputs.")], text)

    files = {name: root / ".runner" / name for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "GITHUB_PATH")}
    script = root / ".runner" / "step.sh"
    script.parent.mkdir(exist_ok=True)
    script.write_text(step["run"], encoding="utf-8")
    for path in files.values():
        path.write_bytes(b"")
    done = subprocess.run(
        [str(BASH), "--noprofile", "--norc", "-eo", "pipefail", str(script)],
        cwd=root / value(step.get("working-directory", ".")),
        env={
            **{name: value for name, value in os.environ.items() if name not in UNSET},
            **{name: str(path) for name, path in files.items()},
            **environment,
            **{name: value(text) for name, text in step.get("env", {}).items()},
        },
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
    outputs = dict(line.split("=", 1) for line in files["GITHUB_OUTPUT"].read_text(encoding="utf-8").splitlines())
    return Ran(done.returncode, done.stdout, done.stderr, outputs, files["GITHUB_STEP_SUMMARY"].read_text(encoding="utf-8"))


@pytest.fixture
def judge(tmp_path):
    """Runs the second step in a folder with a model in it, `mscope` being that of this Python."""
    (tmp_path / "model.safetensors").write_bytes(MODEL)
    (tmp_path / ".git").mkdir()  # no configuration of the folders above counts
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
    return lambda **inputs: run_step(JUDGE, tmp_path, {"PATH": path}, **inputs)


# What is declared -----------------------------------------------------------------------------------------------------


def test_every_input_is_used_and_every_used_one_is_declared():
    found = {each for each in EXPRESSION.findall(TEXT) if not each.startswith("steps.")}
    assert found == {f"inputs.{name}" for name in ACTION["inputs"]}


def test_no_input_is_written_into_a_script():
    """What an expression stands for would be read as a program."""
    for step in (INSTALL, JUDGE):
        assert "${{" not in step["run"]
        assert step["shell"] == "bash"
        assert all(re.search(rf"\${{?{name}\b", step["run"]) for name in step["env"])


def test_every_output_is_one_that_the_script_writes(judge):
    assert {name: output["value"] for name, output in ACTION["outputs"].items()} == {
        name: f"${{{{ steps.{JUDGE['id']}.outputs.{name} }}}}" for name in judge(path="model.safetensors").outputs
    }


# What it does ---------------------------------------------------------------------------------------------------------


def test_a_model_that_passes(judge, tmp_path):
    (tmp_path / "mscope.toml").write_text('max-size = "1 MB"\nmax-parameters = 52\n')
    ran = judge(path="model.safetensors")
    assert (ran.code, ran.err) == (0, "")
    assert ran.outputs == {
        "comment": "mscope-report/comment.md",
        "report": "mscope-report/report.html",
        "junit": "mscope-report/checks.xml",
        "passed": "true",
    }
    assert ran.summary.startswith("### `model.safetensors`")
    assert "52 parameters" in ran.summary
    assert (tmp_path / "mscope-report" / "comment.md").read_text(encoding="utf-8").strip() == ran.summary.strip()
    assert (tmp_path / "mscope-report" / "report.html").read_bytes().startswith(b"<!doctype html>")
    assert (tmp_path / "mscope-report" / "report.json").is_file()
    suite = ElementTree.parse(tmp_path / "mscope-report" / "checks.xml").getroot()
    assert suite.attrib["failures"] == "0"
    assert {case.attrib["name"] for case in suite.iter("testcase")} >= {"max-size", "max-parameters"}
    assert "::error" not in ran.out


def test_a_model_that_fails(judge, tmp_path):
    (tmp_path / "mscope.toml").write_text("max-parameters = 51\nmax-size = 1_000_000\n")
    ran = judge(path="model.safetensors")
    assert ran.code == 1
    assert ran.outputs["passed"] == "false"
    (note,) = [line for line in ran.out.splitlines() if line.startswith("::error")]  # once, although two commands judge
    assert note.startswith("::error title=max-parameters,file=model.safetensors::52 parameters, 1 above 51")
    assert "1 of 2 rules failed" in ran.out.replace("\n", " ")
    assert "1 of 2 rules failed" in ran.summary
    assert "1 of 2 rules failed" in (tmp_path / ran.outputs["comment"]).read_text(encoding="utf-8")
    assert ElementTree.parse(tmp_path / ran.outputs["junit"]).getroot().attrib["failures"] == "1"


def test_without_rules_there_is_a_report_and_it_passes(judge, tmp_path):
    ran = judge(path="model.safetensors")
    assert (ran.code, ran.outputs["passed"]) == (0, "true")
    assert "there is no rule, so nothing was checked" in ran.err
    assert (tmp_path / ran.outputs["report"]).is_file()
    assert "::notice title=mscope::model.safetensors: there is no rule, so nothing was checked" in ran.out.splitlines()
    for text in (ran.summary, (tmp_path / ran.outputs["comment"]).read_text(encoding="utf-8")):
        assert text.endswith("\n\n**Not checked**, because no rule was found: 1 of the models.\n")
        assert "passed" not in text


def test_a_model_without_rules_beside_one_that_has_some(judge, tmp_path):
    (tmp_path / "100%25.safetensors").write_bytes(MODEL)
    (tmp_path / "mscope.toml").write_text('[models."model.safetensors"]\nmax-parameters = 52')
    ran = judge(path="model.safetensors\n100%25.safetensors")
    assert (ran.code, ran.outputs["passed"]) == (0, "true")
    (note,) = [line for line in ran.out.splitlines() if line.startswith("::")]
    assert note == "::notice title=mscope::100%2525.safetensors: there is no rule, so nothing was checked"
    assert ran.summary.endswith("because no rule was found: 1 of the models.\n")


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ("max-sise = 3", "there is no rule 'max-sise'; did you mean 'max-size'?"),
        ("max-growth = '100 %'", "max-growth needs something to compare with"),
    ],
)
def test_rules_that_are_not_understood(judge, tmp_path, rules, said):
    (tmp_path / "mscope.toml").write_text(rules)
    ran = judge(path="model.safetensors")
    assert (ran.code, ran.outputs) == (2, {"passed": "false"})
    (note,) = [line for line in ran.out.splitlines() if line.startswith("::")]
    assert note.startswith("::error title=mscope::Invalid value: mscope.toml: ")
    assert said in note
    assert "mscope.toml" in ran.err


def test_what_an_annotation_says_is_one_line_with_nothing_to_unescape(judge, tmp_path):
    (tmp_path / "mscope.toml").write_text("'max-%0A::error::size' = 3")
    ran = judge(path="model.safetensors")
    (note,) = [line for line in ran.out.splitlines() if line.startswith("::")]
    assert "'max-%250A::error::size'" in note
    assert not any(mark in note for mark in "│╭╮╰╯─")


@pytest.mark.parametrize(
    ("strict", "code", "passed"), [("true", 1, "false"), ("false", 0, "true"), ("", 0, "true"), ("$(false)", 2, "false")]
)
def test_strict(judge, tmp_path, strict, code, passed):
    (tmp_path / "mscope.toml").write_text('[modules."decoder"]\nmax-parameters = 52')  # there is none
    ran = judge(path="model.safetensors", strict=strict)
    assert (ran.code, ran.outputs["passed"]) == (code, passed)
    assert ("::error title=mscope::the input strict is " in ran.out) is (code == 2)
    if code != 2:
        assert ("❌" in ran.summary) is (code == 1), "the report and the check are of one mind"


def test_blanks_at_the_end_of_a_path_do_not_count(judge, tmp_path):
    (tmp_path / " a  b.safetensors").write_bytes(MODEL)
    (tmp_path / "mscope.toml").write_text("max-parameters = 52")
    ran = judge(path="model.safetensors \t\r\n \t\r\n a  b.safetensors\r\n\r\n")
    assert (ran.code, ran.err, ran.outputs["passed"]) == (0, "", "true")
    assert ran.summary.count("52 parameters ·") == 2


@pytest.mark.parametrize("output", ["model.safetensors", "model.safetensors/reports", "taken"])
def test_an_output_folder_that_cannot_be_made(judge, tmp_path, output):
    (tmp_path / "taken" / "comment.md").mkdir(parents=True)
    ran = judge(path="model.safetensors", output=output)
    assert (ran.code, ran.outputs) == (3, {"passed": "false"})
    assert "::error title=mscope::" in ran.out
    assert ran.summary == ""


def test_several_paths(judge, tmp_path):
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "large.safetensors").write_bytes(safetensors_bytes({"w": ("F32", (100, 1))}))
    (tmp_path / "mscope.toml").write_text("max-parameters = 60")
    ran = judge(path="model.safetensors\n\nweights\n")
    assert (ran.code, ran.outputs["passed"]) == (1, "false")
    assert [line.partition("::")[2].partition("::")[0] for line in ran.out.splitlines() if line.startswith("::")] == [
        "error title=max-parameters,file=weights/large.safetensors"
    ]
    suites = ElementTree.parse(tmp_path / ran.outputs["junit"]).getroot()
    assert [suite.attrib["failures"] for suite in suites] == ["0", "1"]


@pytest.mark.parametrize(
    "name",
    [
        "a model.safetensors",
        "$(touch pwned).safetensors",
        "`touch pwned`;touch pwned.safetensors",
        "\"'$PATH' & touch pwned\".safetensors",
        "-o.safetensors",
        "*.safetensors",
        "::error::no.safetensors",
        "é–模型.safetensors",
    ],
)
def test_a_path_is_never_a_program(judge, tmp_path, name):
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / name).write_bytes(MODEL)
    (tmp_path / "mscope.toml").write_text("max-parameters = 52")
    before = {path.name for path in tmp_path.iterdir()}
    ran = judge(path=name)
    assert (ran.code, ran.err, ran.outputs["passed"]) == (0, "", "true")
    assert "52 parameters" in ran.summary
    assert {path.name for path in tmp_path.iterdir()} == before | {".runner", "mscope-report"}
    assert not any(line.lstrip().startswith("::") for line in ran.out.splitlines())


@pytest.mark.parametrize("field", ["baseline", "config", "output", "working_directory"])
def test_no_other_input_is_a_program(judge, tmp_path, field):
    name = "x $(touch pwned) `touch pwned` \"'; touch pwned #"
    (tmp_path / "mscope.toml").write_text("max-parameters = 52")
    if field == "working_directory":
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(MODEL)
    elif field == "baseline":
        assert mscope("baseline", "save", tmp_path / "model.safetensors", "-o", tmp_path / name).code == 0
    elif field == "config":
        (tmp_path / name).write_text("max-parameters = 52")
    ran = judge(path="model.safetensors", **{field: name})
    assert (ran.code, ran.err) == (0, "")
    assert (tmp_path / ran.outputs["comment"]).is_file()
    assert not list(tmp_path.rglob("pwned"))


def test_a_file_that_is_missing(judge, tmp_path):
    ran = judge(path="model.safetensors\nnowhere.pth")
    assert (ran.code, ran.outputs["passed"]) == (3, "false")
    assert "nowhere.pth" in ran.err
    assert "nowhere.pth" in ran.summary
    assert "52 parameters" in (tmp_path / ran.outputs["comment"]).read_text(encoding="utf-8")  # the other one is reported


def test_no_path_is_wrong_usage(judge, tmp_path):
    (tmp_path / "mscope.toml").write_text('[models."model.safetensors"]\nmax-parameters = 52')
    ran = judge(path="")
    assert (ran.code, ran.outputs["passed"]) == (2, "false")


def test_the_baseline_and_the_configuration_that_are_named(judge, tmp_path):
    (tmp_path / "old.safetensors").write_bytes(safetensors_bytes({"embed.weight": ("F32", (10, 4))}))
    assert mscope("baseline", "save", tmp_path / "old.safetensors", "-o", tmp_path / "old.json").code == 0
    (tmp_path / "ci").mkdir()
    (tmp_path / "ci" / "limits.toml").write_text("max-parameter-growth = 11")
    (tmp_path / "mscope.toml").write_text("max-parameters = 1")  # not the one that is asked for
    ran = judge(path="model.safetensors", baseline="old.json", config="ci/limits.toml")
    assert ran.code == 1
    (note,) = [line for line in ran.out.splitlines() if line.startswith("::error")]
    assert "12 parameters" in note
    assert "max-parameter-growth" in note
    assert "| `head` |" in ran.summary.partition("<details>")[0]  # what was added stands in the open


def test_one_baseline_for_several_models_is_wrong_usage(judge, tmp_path):
    """Nothing is written, and reports that an earlier step left are not handed on as those of this one."""
    (tmp_path / "other.safetensors").write_bytes(MODEL)
    assert judge(path="model.safetensors").code == 0
    ran = judge(path="model.safetensors\nother.safetensors", baseline="model.safetensors")
    assert (ran.code, ran.outputs) == (2, {"passed": "false"})
    assert "[models." in ran.err


@pytest.mark.parametrize("absolute", [False, True])
def test_outputs_are_paths_for_the_steps_after_it(judge, tmp_path, absolute):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "small.safetensors").write_bytes(MODEL)
    output = str(tmp_path / "elsewhere") if absolute else "reports/of model"
    ran = judge(path="small.safetensors", working_directory="sub", output=output)
    assert ran.code == 0
    assert ran.outputs["comment"] == (f"{output}/comment.md" if absolute else "sub/reports/of model/comment.md")
    assert all((tmp_path / ran.outputs[name]).is_file() for name in ("comment", "report", "junit"))


def test_a_folder_with_a_line_break_sets_no_outputs(judge):
    ran = judge(path="nowhere.pth", output="x\npassed=true")
    assert (ran.code, ran.outputs) == (2, {"passed": "false"})
    assert "a folder with a line break in its name" in ran.out


# The first step: it installs from the folder the action is in, and that takes the network ----------------------------


def test_it_installs_itself(tmp_path):
    environment = {"GITHUB_ACTION_PATH": str(ROOT), "RUNNER_TEMP": str(tmp_path), "PIP_NO_COMPILE": "1"}
    ran = run_step(INSTALL, tmp_path, environment, python=sys.executable)
    if ran.code and "No matching distribution" in ran.err and not os.environ.get("CI"):
        pytest.skip("nothing can be installed here")
    assert ran.code == 0, ran.err
    (folder,) = (tmp_path / ".runner" / "GITHUB_PATH").read_text(encoding="utf-8").splitlines()
    assert [Path(name).stem for name in os.listdir(folder)] == ["mscope"]  # not the python and pip of its environment
    (tmp_path / "model.safetensors").write_bytes(MODEL)
    (tmp_path / ".git").mkdir()
    path = os.pathsep.join([folder, *(place for place in os.environ["PATH"].split(os.pathsep) if "venv" not in place)])
    ran = run_step(JUDGE, tmp_path, {"PATH": path}, path="model.safetensors")
    assert (ran.code, ran.outputs["passed"]) == (0, "true")
