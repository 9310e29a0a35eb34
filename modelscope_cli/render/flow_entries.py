"""Where a shortcut begins outside a frame and ends inside: it goes in with what it passes by, and parts from it there."""

from __future__ import annotations

from modelscope_cli.report.flow import POINT, Box, Edge, Flow


def with_entries(flow: Flow) -> Flow:
    """The flow with a point in each such frame at which the way divides."""
    within = {frame.name: frame.within for frame in flow.frames}
    around = {box.name: chain(box.frame, within) for box in flow.boxes}
    boxes, edges = list(flow.boxes), list(flow.edges)
    for frame in sorted(flow.frames, key=lambda frame: -len(chain(frame.name, within))):
        for tail in list(dict.fromkeys(edge.tail for edge in edges)):
            if frame.name in around[tail]:
                continue
            entering = [edge for edge in edges if edge.tail == tail and frame.name in around[edge.head]]
            if len(entering) < 2 or not any(edge.shortcut for edge in entering):
                continue
            point = f"point{len(boxes) + 1}"
            boxes.insert(0, Box(point, POINT, "", "", (), frame.name, None))
            around[point] = chain(frame.name, within)
            first = edges.index(entering[0])
            told = next((edge.shape for edge in entering if edge.shape is not None), None)
            inner = [edge._replace(tail=point, shape=None) for edge in entering]
            edges = [edge for edge in edges if edge not in entering]
            edges[first:first] = [Edge(tail, point, told), *inner]
    return flow._replace(boxes=boxes, edges=edges)


def chain(frame: str, within: dict[str, str]) -> set[str]:
    found: set[str] = set()
    while frame:
        found.add(frame)
        frame = within[frame]
    return found
