"""The engine tensorboard, read back with TensorBoard's own reader and messages."""

from __future__ import annotations

import html
import re
import subprocess
import sys
from pathlib import Path

import pytest

from modelscope_cli import read
from modelscope_cli.analysis import graph_nodes
from modelscope_cli.analysis.diagram import model_lines
from modelscope_cli.analysis.graph_nodes import read_graph
from modelscope_cli.analysis.hyper_parameters import hyper_parameters
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.analysis.modules import ModuleTree
from modelscope_cli.analysis.sibling_flow import AROUND, flow
from modelscope_cli.core.checkpoint import Checkpoint
from modelscope_cli.engines.registry import LOGS, Wish
from modelscope_cli.engines.tensorboard import draw
from modelscope_cli.errors import MissingExtraError
from tests.builders.pickle_code import call, pickled
from tests.builders.safetensors_file import safetensors_bytes
from tests.builders.samples import SAMPLES
from tests.families import FAMILIES, batch_norm, convolution, linear, norm, resnet
from tests.tables import checkpoint_of, transformer

pytest.importorskip("tensorboard")
pytestmark = pytest.mark.filterwarnings("ignore:html5lib:DeprecationWarning")  # in a copy that tensorboard brings

NODE_NAME = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.\-/]*")  # TensorFlow's own, tensorflow/core/framework/node_def_util.cc
HOSTILE = (
    "<script>alert(1)</script>", "](javascript:alert(1))", "a|b`c", "constructor", "__proto__", "x.constructor", "a/b", "a_b",
    ".", "", "a..b", "\u202eevil", "nul\x00", "n\nl", "=cmd()", "]]>", "L" * 10_000, "_private", "模型.层", "length", "\ud800",
    "&#60;b&#62;", "**bold**", "![x](http://evil.example/x.png)", "esc\x1b[31m", "x^y:0",
)  # fmt: skip


class Read:
    """A log as TensorBoard's accumulator has it after loading."""

    def __init__(self, checkpoint: Checkpoint, folder: Path):
        from tensorboard.backend.event_processing.event_accumulator import TENSORS, EventAccumulator
        from tensorboard.compat.proto.graph_pb2 import GraphDef

        self.log = draw(checkpoint, Wish(LOGS))
        for name, data in self.log.files.items():
            (folder / name).write_bytes(data)
        self.accumulator = EventAccumulator(str(folder), size_guidance={TENSORS: 0}).Reload()
        self.graph = GraphDef.FromString(self.accumulator.Tags()["graph"] and self.accumulator.Graph().SerializeToString())
        self.nodes = {node.name: node for node in self.graph.node}

    def edges(self) -> set[tuple[str, str]]:
        return {(giver, node.name) for node in self.graph.node for giver in node.input}

    def tensors(self, plugin: str) -> dict[str, object]:
        """tag → value of everything a plugin reads."""
        from tensorboard.util.tensor_util import make_ndarray

        tags = {tag: self.accumulator.SummaryMetadata(tag) for tag in self.accumulator.Tags()["tensors"]}
        return {
            tag: make_ndarray(self.accumulator.Tensors(tag)[0].tensor_proto).item()
            for tag, metadata in tags.items()
            if metadata.plugin_data.plugin_name == plugin
        }

    def hyper_parameters(self) -> dict[str, object]:
        from tensorboard.plugins.hparams import metadata

        content = self.accumulator.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
        held = metadata.parse_session_start_info_plugin_data(content).hparams
        return {name: getattr(value, value.WhichOneof("kind")) for name, value in held.items()}


def attributes(node) -> dict[str, object]:
    return {key: value.s.decode() or value.i for key, value in node.attr.items() if key != "_output_shapes"}


@pytest.fixture
def logged(tmp_path):
    def made(checkpoint: Checkpoint) -> Read:
        return Read(checkpoint, tmp_path)

    return made


@pytest.fixture
def opened(tmp_path):
    def made(data: bytes, name: str = "model.safetensors") -> Checkpoint:
        path = tmp_path / "input" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        return read(str(path))

    return made


def nodes_of(checkpoint: Checkpoint, most: int = graph_nodes.MOST_NODES):
    ledger = Ledger(checkpoint)
    return read_graph(ledger, model_lines(ledger, None), most)


# The graph ------------------------------------------------------------------------------------------------------------


def test_nodes_edges_and_attributes_come_back_from_tensorboards_own_reader(logged):
    found = logged(checkpoint_of(transformer(2, 8, hidden=32), ties={"lm_head.weight": "model.embed_tokens.weight"}))
    layer = "model/layers/1"
    q = found.nodes[f"{layer}/self_attn/q_proj"]
    assert q.op == "Linear"
    assert attributes(q) == {
        "shape": "8 x 8", "dtype": "float32", "parameters": 64, "bytes": 256, "type": "inferred from names and shapes",
    }  # fmt: skip
    assert [dim.size for dim in q.attr["_output_shapes"].list.shape[0].dim] == [-1, 8]
    assert found.nodes["model/embed_tokens"].op == "Embedding"
    assert found.nodes["model/norm"].op == "RMSNorm"
    assert attributes(found.nodes["lm_head"])["tied_to"] == "model.embed_tokens.weight"
    assert {edge for edge in found.edges() if edge[1].startswith(layer)} == {
        ("model/layers/0/mlp/down_proj", f"{layer}/input_layernorm"),
        *((f"{layer}/input_layernorm", f"{layer}/self_attn/{name}_proj") for name in "qkv"),
        *((f"{layer}/self_attn/{name}_proj", f"{layer}/self_attn/o_proj") for name in "qkv"),
        (f"{layer}/self_attn/o_proj", f"{layer}/post_attention_layernorm"),
        *((f"{layer}/post_attention_layernorm", f"{layer}/mlp/{name}_proj") for name in ("gate", "up")),
        *((f"{layer}/mlp/{name}_proj", f"{layer}/mlp/down_proj") for name in ("gate", "up")),
    }
    assert ("model/norm", "lm_head") in found.edges()


@pytest.mark.parametrize("family", FAMILIES)
def test_figures_of_nodes_add_up_and_edges_lead_to_nodes_without_a_circle(family, logged):
    checkpoint = checkpoint_of(FAMILIES[family])
    found = logged(checkpoint)
    ledger = Ledger(checkpoint)
    figures = [attributes(node) for node in found.graph.node]
    assert sum(each["parameters"] for each in figures) == ledger.total_parameters()
    assert sum(each["bytes"] for each in figures) == sum(ledger.nbytes)
    assert all(NODE_NAME.fullmatch(node.name) for node in found.graph.node)
    place = {node.name: number for number, node in enumerate(found.graph.node)}
    assert found.edges(), "a family that is known has an order"
    assert all(place[giver] < place[taker] for giver, taker in found.edges())


@pytest.mark.parametrize("family", FAMILIES)
def test_equal_layers_have_equal_structure(family, logged):
    """Else TensorBoard would not paint them alike."""
    found = logged(checkpoint_of(FAMILIES[family]))

    def structure(scope: str) -> list[tuple[str, str, list[str]]]:
        inside = [node for node in found.graph.node if node.name.startswith(f"{scope}/")]
        cut = len(scope)
        return [(node.name[cut:], node.op, [i[cut:] for i in node.input if i.startswith(f"{scope}/")]) for node in inside]

    scopes = {match[1] for node in found.nodes if (match := re.match(r"((?:.*/)?(?:layers|h|trf_blocks)/\d+)/", node))}
    shapes = {str(structure(scope)) for scope in scopes}
    assert len(shapes) == (0 if not scopes else 2 if family == "deepseek" else 1)  # whose first layer is dense


def test_where_the_order_is_not_known_there_is_no_edge():
    shapes = linear("red", 4, 4) | linear("green", 4, 4) | linear("blue", 4, 4)
    assert [node.inputs for node in nodes_of(checkpoint_of(shapes, ordered=False)).nodes] == [[], [], []]
    assert [node.inputs for node in nodes_of(checkpoint_of(shapes)).nodes] == [[], ["red"], ["green"]]


def test_buffers_stand_aside():
    shapes = {**linear("fc1", 4, 4), "steps:int64": (), **linear("fc2", 4, 4)}
    found = {node.name: node for node in nodes_of(checkpoint_of(shapes)).nodes}
    assert found["fc2"].inputs == ["fc1"]
    assert not any("steps" in node.inputs for node in found.values())


def test_latent_attention_runs_in_two_branches():
    names = ["q_a_proj", "q_a_layernorm", "q_b_proj", "kv_a_proj_with_mqa", "kv_a_layernorm", "kv_b_proj", "o_proj"]
    found = flow("self_attn", names, [None] * 7, registered=False)
    assert found == ([[AROUND], [0], [1], [AROUND], [3], [4], [2, 5]], [6])


def test_norms_of_queries_and_keys_belong_to_their_branch():
    found = flow("self_attn", ["q_proj", "k_proj", "v_proj", "q_norm", "k_norm", "o_proj"], [None] * 6, registered=False)
    assert found.takes[3:5] == [[0], [1]]
    assert sorted(found.takes[5]) == [2, 3, 4]


def test_experts_take_from_the_router_and_the_shared_one_does_not():
    assert flow("mlp", ["gate", "experts", "shared_experts"], [None, 8, 8], registered=False) == (
        [[AROUND], [0], [AROUND]],
        [1, 2],
    )
    assert flow("experts", ["0", "1", "2"], [8, 8, 8], registered=True) == ([[AROUND]] * 3, [0, 1, 2])
    assert flow("layers", ["0", "1", "2"], [8, 8, 8], registered=False).takes == [[AROUND], [0], [1]]


def test_a_shortcut_leads_around_the_steps_of_a_block():
    found = {node.name: node.inputs for node in nodes_of(checkpoint_of(resnet((2,)))).nodes}
    assert found["layer1/0/downsample/0"] == ["bn1"]
    assert found["layer1/0/conv1"] == ["bn1"]
    assert set(found["layer1/1/conv1"]) == {"layer1/0/bn3", "layer1/0/downsample/1"}


def test_a_downsample_among_blocks_is_a_step():
    shapes = linear("blocks.0", 4, 4) | linear("downsample", 4, 4) | linear("head", 4, 4)
    assert {node.name: node.inputs for node in nodes_of(checkpoint_of(shapes)).nodes}["downsample"] == ["blocks/0"]


def test_two_equal_towers_are_not_two_steps():
    shapes = {
        f"{tower}.{name}": shape
        for tower in ("left", "right")
        for name, shape in (linear("a", 4, 4) | linear("b", 4, 4)).items()
    }
    assert {node.name: node.inputs for node in nodes_of(checkpoint_of(shapes)).nodes}["right/a"] == []


# Large and odd models -------------------------------------------------------------------------------------------------


def sizes(graph) -> int:
    return sum(node.parameters for node in graph.nodes)


def test_experts_are_drawn_once_before_layers_are():
    checkpoint = checkpoint_of(FAMILIES["mixtral"])
    whole = nodes_of(checkpoint)
    assert whole.warnings == []
    folded = nodes_of(checkpoint, len(whole.nodes) - 1)
    experts = [node for node in folded.nodes if node.name == "model/layers/1/block_sparse_moe/experts/0-3/w1"]
    assert [(node.copies, node.parameters) for node in experts] == [(4, 4 * 24 * 16)]
    assert f"{len(folded.nodes):,} of {len(whole.nodes):,} nodes" in folded.warnings[0]
    layers = nodes_of(checkpoint, len(folded.nodes) - 1)
    assert "model/layers/0-1/block_sparse_moe/experts/0-3/w1" in {node.name for node in layers.nodes}
    upper = nodes_of(checkpoint, len(layers.nodes) - 1)
    assert len(upper.nodes) < len(layers.nodes)
    assert "upper levels" in upper.warnings[0]
    assert len({sizes(graph) for graph in (whole, folded, layers, upper)}) == 1


def test_more_parts_than_the_page_lays_out_are_one_node(monkeypatch):
    monkeypatch.setattr(graph_nodes, "MOST_PARTS", 5)
    checkpoint = checkpoint_of({f"odd{number}.weight": (2, number + 1) for number in range(9)})
    graph = nodes_of(checkpoint)
    assert [node.name for node in graph.nodes][-1] == "and_5_more"
    assert len(graph.nodes) == 5
    assert sizes(graph) == Ledger(checkpoint).total_parameters()
    assert graph.warnings == ["the model has more parts than TensorBoard's page can lay out: 5 are one node"]
    equal = nodes_of(checkpoint_of({f"layers.{number}.weight": (2, 2) for number in range(9)}))
    assert [(node.name, node.copies) for node in equal.nodes] == [("layers/0-8", 9)]


def test_many_ends_that_meet_many_beginnings_are_no_carpet(monkeypatch):
    monkeypatch.setattr(graph_nodes, "MOST_MEETINGS", 8)
    shapes = {f"{part}.experts.{number}.weight": (2, width) for part, width in (("one", 2), ("two", 3)) for number in range(3)}
    assert not any(node.inputs for node in nodes_of(checkpoint_of(shapes)).nodes)


def test_names_stay_apart_and_fit_tensorflows_syntax(logged):
    names = [name.replace(":", ";") for name in HOSTILE]
    checkpoint = checkpoint_of({f"{name}.weight": (2, 3) for name in names} | dict.fromkeys(names, (2, 3)))
    found = logged(checkpoint)
    names = [node.name for node in found.graph.node]
    assert len(set(names)) == len(names)
    assert all(NODE_NAME.fullmatch(name) for name in names)
    scopes = {name[:at] for name in names for at in range(len(name)) if name[at] == "/"}
    assert scopes.isdisjoint(names)
    assert not {"constructor", "__proto__", "length"} & set(names)
    assert sum(attributes(node)["parameters"] for node in found.graph.node) == Ledger(checkpoint).total_parameters()
    for node in found.graph.node:
        for key, value in attributes(node).items():
            assert isinstance(value, int) or (value.isascii() and value.isprintable() and len(value) <= 300), key


def test_a_recorded_class_is_an_operation_and_says_so(logged, opened):
    found = logged(opened(SAMPLES["module.pth"], "module.pth"))
    assert found.nodes["fc"].op == "Linear"
    assert attributes(found.nodes["fc"])["type"] == "recorded in the file"


def test_classes_of_hostile_names_are_operations_in_plain_letters(logged):
    found = logged(
        checkpoint_of(linear("fc", 2, 2) | linear("of", 2, 2), classes={"fc": 'x.<b>"\n op: Evil}', "of": "a.constructor"})
    )
    assert re.fullmatch(r"[A-Za-z0-9_.]+", found.nodes["fc"].op)
    assert found.nodes["of"].op == "constructor_"  # else the page looks it up and finds a function


def test_bytes_of_the_weights_are_the_memory_of_nodes(logged):
    from tensorboard.compat.proto.config_pb2 import RunMetadata

    found = logged(checkpoint_of(transformer(2)))
    sizes = RunMetadata.FromString(found.accumulator.RunMetadata("bytes of the weights").SerializeToString())
    stats = sizes.step_stats.dev_stats[0].node_stats
    assert {each.node_name: each.memory[0].total_bytes for each in stats} == {
        name: attributes(node)["bytes"] for name, node in found.nodes.items()
    }


# Hyper-parameters, figures, texts -------------------------------------------------------------------------------------


def test_architecture_and_configuration_are_hyper_parameters_and_sizes_are_figures(logged):
    config = {"rope_theta": 1e4, "tie": False, "model_type": "llama", "nested": {"a": 1}, "huge": 10**400, "nan": float("nan")}
    checkpoint = checkpoint_of(transformer(4, 8, hidden=32, vocabulary=50), config=config)
    found = logged(checkpoint)
    held = found.hyper_parameters()
    wanted = {
        "arch.layers": 4, "arch.hidden_size": 8, "arch.vocabulary": 50, "arch.feed_forward": 32, "dtype": "float32",
        "config.rope_theta": 1e4, "config.tie": False, "config.nan": "nan",
    }  # fmt: skip
    assert {name: held[name] for name in wanted} == wanted
    assert not {"config.nested", "config.huge"} & set(held)
    assert found.tensors("scalars") == {
        "size/parameters": Ledger(checkpoint).total_parameters(), "size/stored_bytes": checkpoint.nbytes, "size/tensors": 39,
    }  # fmt: skip


def test_figures_of_large_models_are_exact(logged):
    found = logged(checkpoint_of({"a.weight": (2_000_000_001, 3)}))
    assert found.tensors("scalars")["size/parameters"] == 6_000_000_003


def test_a_training_checkpoint_tells_epoch_and_options_of_its_optimizer(logged):
    groups = {"0": {"lr": 0.1, "betas": [0.9, 0.95], "params": [0]}, "1": {"lr": 0.2, "betas": [0.9, 0.95], "params": [1]}}
    metadata = {"epoch": 7, "optimizer": {"param_groups": groups}, "args": {"seed": 1, "name": "run"}, "note": "x" * 500}
    names = {"model.weight": (2, 3), "optimizer.state.0.exp_avg": (2, 3), "optimizer.state.0.exp_avg_sq": (2, 3)}
    found = logged(checkpoint_of(names, metadata=metadata, groups=[(0, "model"), (1, "optimizer.state.0")]))
    held = found.hyper_parameters()
    assert held["optimizer"].startswith("Adam")
    assert (held["optimizer.lr"], held["optimizer.1.lr"], held["optimizer.betas"]) == (0.1, 0.2, "0.9, 0.95")
    assert (held["epoch"], held["args.seed"], held["args.name"]) == (7, 1, "run")
    assert not {"note", "optimizer.params", "optimizer.1.betas"} & set(held)
    assert [node.name for node in found.graph.node] == ["model"]
    assert any("exp_avg" in html.unescape(text) for text in texts_of(found).values())


def texts_of(found: Read) -> dict[str, str]:
    return {tag: text.decode() for tag, text in found.tensors("text").items()}


def test_texts_hold_the_tables_of_inspect_and_what_is_inferred(logged):
    found = texts_of(logged(checkpoint_of(transformer(4))))
    assert next(iter(sorted(found))) == "model/01 File"
    assert "4,096" not in found["model/01 File"]
    assert f"{Ledger(checkpoint_of(transformer(4))).total_parameters():,}" in found["model/01 File"]
    assert any("inferred from names" in text for text in found.values())
    assert all("layers" not in title or title.startswith("model/") for title in found)


def test_hostile_texts_are_text_in_tensorboards_html(logged, opened):
    from html.parser import HTMLParser

    from tensorboard.plugin_util import markdown_to_safe_html

    words = [word for word in HOSTILE if word != "\ud800"]
    evil = ["<img src=x onerror=alert(1)>", "[x](javascript:alert(1))", "![x](http://evil.example/y.png)", "a | b", "| a | b |",
            "<http://evil.example>", "x\n\n# head", "`a` ``b", "\\|", "&lt;b&gt;", "<!-- x", "1. x", "a\\", "*x* _y_", "=cmd()"]  # fmt: skip
    metadata = {f"{number} {word}": word for number, word in enumerate(evil + words)}
    found = texts_of(logged(opened(safetensors_bytes({f"{word}.w": ("F32", (2, 3)) for word in words}, metadata))))

    class Page(HTMLParser):
        def __init__(self):
            super().__init__()
            self.tags, self.rows, self.cells = set(), [], []

        def handle_starttag(self, tag, attrs):
            self.tags.add(tag)
            assert not attrs
            if tag == "tr":
                self.rows.append([])
            elif tag in ("td", "th"):
                self.rows[-1].append("")

        def handle_data(self, data):
            if self.rows and self.rows[-1]:
                self.rows[-1][-1] += data

    shown = []
    for text in found.values():
        page = Page()
        page.feed(markdown_to_safe_html(text))
        assert page.tags <= {"table", "thead", "tbody", "tr", "th", "td", "code", "strong", "p"}
        assert len({len(row) for row in page.rows}) <= 1, "a bar has ended a cell"
        shown += [cell.strip() for row in page.rows for cell in row]
    for number, word in enumerate(evil[:4] + evil[5:6]):
        assert f"{number if number < 4 else 5} {word}" in shown
        assert word in shown
    assert "'=cmd()" not in shown
    assert "=cmd()" in shown


def test_hyper_parameters_are_no_formulas_and_no_controls(logged):
    found = logged(checkpoint_of(linear("a", 2, 2), metadata={"run": "=cmd()", "@x": "a\x1b[31m", "long" * 100: 1}))
    held = found.hyper_parameters()
    assert held["run"] == "'=cmd()"
    assert held["'@x"] == "a\\x1b[31m"
    assert max(map(len, held)) == 100


def test_numbers_that_are_none_are_left_out():
    checkpoint = checkpoint_of(
        linear("a", 2, 2), metadata={"none": None, "big": 10**400, "list": list(range(50)), "deep": {"x": 1.5}}
    )
    ledger = Ledger(checkpoint)
    held = hyper_parameters(ledger, ModuleTree(ledger).outline())
    assert "deep.x" in held
    assert not {"none", "big", "list"} & set(held)


# The whole ------------------------------------------------------------------------------------------------------------


def test_a_file_without_weights_has_its_tables_and_a_warning(logged, opened):
    log = draw(opened(safetensors_bytes({}, {"note": "nothing"})), Wish(LOGS))
    assert log.warnings == ("no graph: the file holds no tensors, so there is nothing to draw",)
    assert b"nothing" in b"".join(log.files.values())


@pytest.mark.parametrize("name", SAMPLES)
def test_every_kind_of_file_is_logged_with_all_its_parameters(name, logged, opened):
    checkpoint = opened(SAMPLES[name], name)
    found = logged(checkpoint)
    assert sum(attributes(node)["parameters"] for node in found.graph.node) == Ledger(checkpoint).total_parameters()


def test_the_same_model_gives_the_same_bytes_under_one_name(opened):
    data = safetensors_bytes({"a.weight": ("F32", (2, 3))}, {str(number): "x" for number in range(40)})
    script = (
        "import sys, hashlib; from modelscope_cli import read; from modelscope_cli.engines.registry import Wish;"
        "from modelscope_cli.engines.tensorboard import draw; files = draw(read(sys.argv[1]), Wish('logs')).files;"
        "print([(name, hashlib.sha256(data).hexdigest()) for name, data in files.items()])"
    )
    path = opened(data).path
    runs = {
        subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}).stdout
        for seed in ("1", "2", "3")
    }  # fmt: skip
    assert len(runs) == 1
    assert "events.out.tfevents.0946684800.mscope" in runs.pop()


def test_neither_torch_nor_tensorflow_is_loaded(opened):
    path = opened(SAMPLES["training.ckpt"], "training.ckpt").path
    script = (
        "import sys; from modelscope_cli import read; from modelscope_cli.engines.registry import Wish;"
        "from modelscope_cli.engines.tensorboard import draw; draw(read(sys.argv[1]), Wish('logs'));"
        "print([name for name in ('torch', 'tensorflow') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert done.stderr == ""


def test_nothing_is_executed(opened, tmp_path):
    canary = tmp_path / "canary"
    checkpoint = opened(
        pickled({"weight": call("os.system", f"touch {canary}"), "x": call("posix.system", f"touch {canary}")}), "evil.pkl"
    )
    draw(checkpoint, Wish(LOGS))
    assert not canary.exists()


def test_without_the_package_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(MissingExtraError, match=r"the engine tensorboard needs the optional extra \[tensorboard\]") as missing:
        draw(checkpoint_of(linear("a", 2, 2)), Wish(LOGS))
    assert missing.value.hint == "pip install 'modelscope-cli[tensorboard]'"


def test_the_command_to_view_names_the_folder():
    assert draw(checkpoint_of(linear("a", 2, 2)), Wish(LOGS)).view.format(folder="runs") == "tensorboard --logdir runs"


def test_convolutions_say_how_many_channels_they_give(logged):
    found = logged(
        checkpoint_of(convolution("conv1", 4, 3) | batch_norm("bn1", 4) | norm("norm", 4) | {"odd": (2, 3, 4, 5, 6, 7)})
    )
    shapes = {name: node.attr["_output_shapes"].list.shape[0] for name, node in found.nodes.items()}
    assert [dim.size for dim in shapes["conv1"].dim] == [-1, 4, -1, -1]
    assert [dim.size for dim in shapes["bn1"].dim] == [-1, 4]
    assert shapes["odd"].unknown_rank
