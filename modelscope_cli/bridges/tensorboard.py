"""An event file for TensorBoard, written with its own package: no torch, no tensorflow.

    record = uint64 length · uint32 checksum of it · an Event · uint32 checksum of that

Events hold one thing each: the version, the graph, the bytes of each node, a summary. All carry the same time, so that the same
checkpoint gives the same bytes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from modelscope_cli.analysis.graph_nodes import Node
from modelscope_cli.analysis.hyper_parameters import Value
from modelscope_cli.analysis.node_names import TAKEN
from modelscope_cli.bridges.extras import need
from modelscope_cli.core.tensor import Shape
from modelscope_cli.render.csv import FORMULA
from modelscope_cli.render.plain import to_ascii, visible

FILE = "events.out.tfevents.0946684800.mscope"  # TensorBoard looks for "tfevents" in names
TIME = 946_684_800.0  # the first second of 2000
VERSION = "brain.Event:2"
PRODUCER = 1  # of a GraphDef; its value matters to TensorFlow only
BYTES_TAG = "bytes of the weights"
DEVICE = "/device:FILE:0"  # the page counts only what lies on a device
LONGEST_ATTRIBUTE = 300
LONGEST_NAME = 100
MOST_TENSORS = 12  # of a node that are listed
OP_LETTERS = re.compile(r"[^A-Za-z0-9_.]")
UNKNOWN = -1


class Log(NamedTuple):
    """What goes into an event file. `name` is that of the run in tables, `texts` are (title, Markdown)."""

    name: str
    nodes: Sequence[Node]
    hyper_parameters: Mapping[str, Value]
    figures: Mapping[str, int]
    texts: Sequence[tuple[str, str]]


def write(log: Log) -> dict[str, bytes]:
    """The files of a log folder. Raises MissingExtraError."""
    need("tensorboard", "the engine tensorboard", "tensorboard")
    from tensorboard.summary.writer.record_writer import RecordWriter

    buffer = io.BytesIO()
    writer = RecordWriter(buffer)
    for event in events(log):
        writer.write(event.SerializePartialToString(deterministic=True))
    return {FILE: buffer.getvalue()}


def events(log: Log) -> Iterator[Any]:
    from tensorboard.compat.proto.event_pb2 import Event, TaggedRunMetadata

    yield Event(wall_time=TIME, file_version=VERSION)
    if log.nodes:
        yield Event(wall_time=TIME, graph_def=graph(log.nodes).SerializePartialToString(deterministic=True))
        sizes = run_metadata(log.nodes).SerializePartialToString(deterministic=True)
        yield Event(wall_time=TIME, tagged_run_metadata=TaggedRunMetadata(tag=BYTES_TAG, run_metadata=sizes))
    for summary in (*session(log), *figures(log.figures), *texts(log.texts)):
        yield Event(wall_time=TIME, step=0, summary=summary)


# The graph ------------------------------------------------------------------------------------------------------------


def graph(nodes: Sequence[Node]) -> Any:
    """The GraphDef."""
    from tensorboard.compat.proto.graph_pb2 import GraphDef

    drawn = GraphDef()
    drawn.versions.producer = PRODUCER
    for node in nodes:
        added = drawn.node.add(name=node.name, op=op(node), input=node.inputs)
        for key, value in attributes(node):
            if isinstance(value, int):
                added.attr[key].i = value
            else:
                added.attr[key].s = text(value).encode()
        extents = gives(node)
        shape = added.attr["_output_shapes"].list.shape.add(unknown_rank=not extents)  # the page draws other edges too wide
        for extent in extents:
            shape.dim.add(size=extent)
    return drawn


def op(node: Node) -> str:
    """The kind of a node as the name of an operation."""
    name = OP_LETTERS.sub("_", to_ascii(node.kind.name))[:LONGEST_NAME] or "Module"
    return f"{name}_" if TAKEN.fullmatch(name) else name


def attributes(node: Node) -> Iterator[tuple[str, int | str]]:
    """What the page shows of a node that is clicked."""
    yield "parameters", node.parameters
    yield "bytes", node.nbytes
    if node.tensors:
        yield "shape", extents_text(node.tensors[0][1])
        yield "dtype", ", ".join(dict.fromkeys(dtype for _, _, dtype in node.tensors))
    if len(node.tensors) > 1:
        listed = [f"{name} {extents_text(shape)}" for name, shape, _ in node.tensors[:MOST_TENSORS]]
        more = len(node.tensors) - MOST_TENSORS
        yield "tensors", ", ".join(listed) + (f", and {more:,} more" if more > 0 else "")
    if node.copies > 1:
        yield "copies", node.copies
        yield "parameters_each", node.parameters // node.copies
    if node.tied:
        yield "tied_to", node.tied
    if node.path.replace(".", "/") != node.name and node.copies == 1:
        yield "path", node.path
    yield "type", "inferred from names and shapes" if node.kind.inferred else "recorded in the file"


def extents_text(shape: Shape) -> str:
    return " x ".join(map(str, shape)) or "scalar"


def text(value: str) -> str:
    """A value for the text form in which graphs travel to the page, which knows ASCII only."""
    shown = to_ascii(visible(value))
    return shown if len(shown) <= LONGEST_ATTRIBUTE else f"{shown[: LONGEST_ATTRIBUTE - 3]}..."


def gives(node: Node) -> list[int]:
    """What a module gives, as far as its weights tell; edges are labelled with it: ? x 4096, ? x 64 x ? x ?."""
    into_out = re.match(r"[\d,]+ → ([\d,]+)", node.kind.detail)
    width = into_out or re.fullmatch(r"(?:[\d,]+ × )?([\d,]+)", node.kind.detail)
    if width is None:
        return []
    spatial = re.match(r"Conv(?:Transpose)?([123])d$", node.kind.name)
    return [UNKNOWN, int(width[1].replace(",", "")), *[UNKNOWN] * (int(spatial[1]) if spatial else 0)]


def run_metadata(nodes: Sequence[Node]) -> Any:
    """The bytes of each node, as what it allocates: the page can colour by them, and sums them up for modules."""
    from tensorboard.compat.proto.config_pb2 import RunMetadata

    sizes = RunMetadata()
    device = sizes.step_stats.dev_stats.add(device=DEVICE)
    for node in nodes:
        device.node_stats.add(node_name=node.name).memory.add(total_bytes=node.nbytes)
    return sizes


# Summaries ------------------------------------------------------------------------------------------------------------


def session(log: Log) -> Iterator[Any]:
    """The run and its hyper-parameters. There is no list of all that exist: TensorBoard gathers it from the runs it finds."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import metadata
    from tensorboard.plugins.hparams.api_pb2 import STATUS_SUCCESS
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo

    start = SessionStartInfo(group_name=named(log.name), start_time_secs=TIME)
    for name, value in log.hyper_parameters.items():
        held = start.hparams[named(name)]
        if isinstance(value, bool):
            held.bool_value = value
        elif isinstance(value, str):
            held.string_value = worded(value)
        else:
            held.number_value = value
    end = SessionEndInfo(status=STATUS_SUCCESS, end_time_secs=TIME)
    for tag, data in (
        (metadata.SESSION_START_INFO_TAG, HParamsPluginData(session_start_info=start)),
        (metadata.SESSION_END_INFO_TAG, HParamsPluginData(session_end_info=end)),
    ):
        described = metadata.create_summary_metadata(data)
        data.version = metadata.PLUGIN_DATA_VERSION
        described.plugin_data.content = data.SerializePartialToString(deterministic=True)  # which that function does not do
        yield Summary(value=[Summary.Value(tag=tag, metadata=described)])


def figures(values: Mapping[str, int]) -> Iterator[Any]:
    """Scalars, which the table of hyper-parameters takes for its metrics."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.types_pb2 import DT_DOUBLE
    from tensorboard.plugins.scalar.metadata import create_summary_metadata

    for name, value in values.items():
        tensor = TensorProto(dtype=DT_DOUBLE, double_val=[float(value)])
        yield Summary(value=[Summary.Value(tag=name, metadata=create_summary_metadata(name, ""), tensor=tensor)])


def texts(values: Sequence[tuple[str, str]]) -> Iterator[Any]:
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.types_pb2 import DT_STRING
    from tensorboard.plugins.text.metadata import create_summary_metadata

    for number, (title, markdown) in enumerate(values, start=1):  # the page sorts them by their tags
        tensor = TensorProto(dtype=DT_STRING, string_val=[markdown.encode()])
        described = create_summary_metadata(title, "")
        yield Summary(value=[Summary.Value(tag=f"model/{number:02} {title}", metadata=described, tensor=tensor)])


def worded(value: str) -> str:
    """A value for the table of hyper-parameters, which people download as CSV: no formula there."""
    return visible(FORMULA.sub(r"\1'\2", value))


def named(name: str) -> str:
    shown = worded(name)
    return shown if len(shown) <= LONGEST_NAME else f"{shown[: LONGEST_NAME - 1]}…"
