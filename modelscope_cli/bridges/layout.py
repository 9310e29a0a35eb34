"""Places for boxes that are connected any way, by whichever Graphviz there is: `dot` in layers from top to bottom.

It is given sizes and names of our own making alone, and what it says is read as JSON. Same input, same places.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

from modelscope_cli.bridges import programs
from modelscope_cli.errors import DrawingError
from modelscope_cli.render.flow_plan import Cluster, Places, Plan
from modelscope_cli.report.scene import Point

POINTS = 72.0  # in an inch
PATIENCE = 60.0  # seconds; a hundred boxes take hundredths, thousands take long
ACROSS, DOWN = 26.0, 30.0  # between boxes side by side, between layers
PIECES = 8  # points of each curve
HINT = "pip install graphviz-pure, or install Graphviz and put dot on the PATH"


def arrange(plan: Plan) -> Places:
    """Where everything stands. Raises DrawingError when no program here can tell."""
    text = "".join(document(plan))
    failed: list[str] = []
    for program in (programs.find("dot"), programs.find_wheel()):
        if program is None:
            continue
        try:
            return read(json.loads(run(program, text)), plan)
        except (OSError, subprocess.SubprocessError, DrawingError, ValueError, KeyError, TypeError, IndexError) as problem:
            failed.append(f"{program}: {why(problem)}")
    raise DrawingError(f"nothing here lays out a graph: {'; '.join(failed) or 'no Graphviz was found'}", hint=HINT)


def why(problem: BaseException) -> str:
    if isinstance(problem, subprocess.TimeoutExpired):
        return f"not done after {PATIENCE:.0f} seconds"
    return (str(problem) or type(problem).__name__).splitlines()[0][:200]


def run(program: str, text: str) -> bytes:
    done = subprocess.run(
        [program, "-Kdot", "-Tjson0"], input=text.encode(), capture_output=True, timeout=PATIENCE, check=False
    )
    if done.returncode or not done.stdout:
        said = done.stderr.decode(errors="replace").strip()
        raise DrawingError(said.splitlines()[0] if said else f"ended with {done.returncode} and said nothing")
    return done.stdout


def document(plan: Plan) -> Iterator[str]:
    """The graph, without a word from the model."""
    yield "digraph {\n"
    yield f"  graph [nodesep={ACROSS / POINTS:.4f} ranksep={DOWN / POINTS:.4f} newrank=false];\n"
    yield '  node [shape=box fixedsize=true label=""];\n  edge [arrowhead=none];\n'
    below: dict[str, list[Cluster]] = {}
    for cluster in plan.clusters:
        below.setdefault(cluster.within, []).append(cluster)
    held: dict[str, list[str]] = {}
    homes = {node.name: node.frame for node in plan.nodes}
    for node in plan.nodes:
        size = f"width={node.width / POINTS:.4f} height={node.height / POINTS:.4f}"
        held.setdefault(node.frame, []).append(f"  {node.name} [{size}];\n")

    def inside(frame: str) -> Iterator[str]:
        for cluster in below.get(frame, ()):
            yield f"  subgraph cluster_{cluster.name} {{\n"
            table = f'<TABLE BORDER="0" FIXEDSIZE="TRUE" WIDTH="{cluster.width:.0f}" HEIGHT="10"><TR><TD></TD></TR></TABLE>'
            yield f"  graph [margin={plan.margin:.1f} label=<{table}>];\n"
            yield from inside(cluster.name)
            yield "  }\n"
        yield from held.get(frame, ())
        for row in plan.rows:
            if homes[row[0]] == frame:
                yield f"  {{ rank=same; {' -> '.join(row)} [style=invis]; }}\n"

    yield from inside("")
    for link in sorted(plan.links, key=lambda link: link.weight == 1):
        yield f"  {link.tail} -> {link.head} [weight={link.weight}];\n"
    yield "}\n"


def read(said: dict[str, Any], plan: Plan) -> Places:
    """The places in what the program wrote; heights are turned round."""
    bottom = float(said["bb"].split(",")[3])
    nodes: dict[str, Point] = {}
    frames: dict[str, tuple[float, float]] = {}
    numbers: dict[int, str] = {}
    for item in said.get("objects", ()):
        if str(item["name"]).startswith("cluster_"):
            left, _, right, _ = map(float, item["bb"].split(","))
            frames[item["name"].removeprefix("cluster_")] = (left, right)
        elif "pos" in item:  # and no row
            x, y = point(item["pos"])
            nodes[item["name"]] = (x, bottom - y)
            numbers[item["_gvid"]] = item["name"]
    ways: dict[tuple[str, str], list[Point]] = {}
    for edge in said.get("edges", ()):
        ways[numbers[edge["tail"]], numbers[edge["head"]]] = [(x, bottom - y) for x, y in curve(edge["pos"])]
    return Places(
        {node.name: nodes[node.name] for node in plan.nodes},
        {cluster.name: frames[cluster.name] for cluster in plan.clusters},
        [ways[link.tail, link.head] for link in plan.links],
    )


def point(text: str) -> Point:
    x, y = text.split(",")[:2]
    return float(x), float(y)


def curve(text: str) -> list[Point]:
    """Points along a way that is given as Bézier curves."""
    points = [point(each.removeprefix("e,").removeprefix("s,")) for each in text.split() if not each.startswith(("e,", "s,"))]
    found = [points[0]]
    for position in range(1, len(points) - 2, 3):
        (ax, ay), (bx, by), (cx, cy), (dx, dy) = points[position - 1 : position + 3]
        for piece in range(1, PIECES + 1):
            t = piece / PIECES
            u = 1 - t
            weights = (u**3, 3 * u * u * t, 3 * u * t * t, t**3)
            found.append(
                (
                    sum(w * v for w, v in zip(weights, (ax, bx, cx, dx), strict=True)),
                    sum(w * v for w, v in zip(weights, (ay, by, cy, dy), strict=True)),
                )
            )
    return found
