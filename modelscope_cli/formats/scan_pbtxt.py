"""TensorFlow graphs written as text: TensorFlow loads a saved_model.pbtxt where there is no saved_model.pb.

    node { name: "w" op: "WriteFile" attr { key: "output_stream" value { s: "stderr" } } }
                        protobuf.dev/reference/protobuf/textformat-spec

The text is searched, not parsed. What the format allows beside plain strings (escapes, strings in several pieces, comments in between,
blanks without end, blanks of other alphabets, which Python's parser takes) no writer puts into the name of an operator, so what is
written so is said to be not looked at. The layers of Keras are JSON in strings, `metadata`, and are judged as elsewhere.
"""

from __future__ import annotations

import re

import msgspec

from modelscope_cli.containers.escapes import unescaped
from modelscope_cli.core.scanned import UNTOLD
from modelscope_cli.core.window import Window
from modelscope_cli.formats.scan_graphs import Collected
from modelscope_cli.formats.scan_tensorflow import LIBRARY, TELLING

SEARCHED = 8  # times searched_bytes
MOST_VALUES = 1_000  # of an attribute that are kept
MOST_LAYERS = 50_000  # whose configurations are judged
FIRST_READ = 1 << 12  # bytes of a string, and eight times as many where they do not do
PIECE, OVERLAP, BEFORE = 1 << 20, 4_096, 256
_GAP = rb"\s{0,400}+"
_STRANGE = rb"#\x1c-\x1f\x80-\xff"  # a comment, or a blank that is none of ASCII
_STOP = rb"(?:\s|[" + _STRANGE + rb"])"
OPERATOR = re.compile(
    rb"""(?<!\w)op"""
    + _GAP
    + rb":"
    + _GAP
    + rb"""(?:"([^"'\\\n]{1,200})"|'([^"'\\\n]{1,200})')(?!"""
    + _GAP
    + rb"""["'"""
    + _STRANGE
    + rb"""])"""
)
ODD = re.compile(
    rb"(?<!\w)(?:(?:op|key|metadata)" + _GAP + rb"(?:" + _STOP + rb"|:" + _GAP + _STOP + rb")"
    rb"|(?:op|key)"
    + _GAP
    + rb":"
    + _GAP
    + rb"""["'][^"'\\\n]{0,400}+(?:\\|["']"""
    + _GAP
    + rb"""(?:["']|"""
    + _STOP
    + rb""")))"""
)
METADATA = re.compile(rb"""(?<!\w)metadata""" + _GAP + rb":" + _GAP + rb"""(?=["'])""")
QUOTED = re.compile(rb"""\s*+(?:"((?:[^"\\\n]|\\.)*+)"|'((?:[^'\\\n]|\\.)*+)')""")
BEHIND = re.compile(rb"""\s*+[^\s"'""" + _STRANGE + rb"]")  # what may follow a string
ATTRIBUTE = re.compile(rb"""key\s*:\s*"(\w{1,40})"\s*value\s*:?\s*\{([^{}]{0,400})(\}?)""")
STRING = re.compile(rb"""(?<!\w)s\s*:\s*"([^"\\\n]{0,300})\"""")


def scan_pbtxt(found: Collected, window: Window) -> bool:
    """Search a text for operators and layers. Returns whether it has any operator."""
    told: dict[str, dict[str, None]] = {}
    wanted = {name: name.encode() for name in set(TELLING.values())}
    mentioned: dict[str, int] = {}
    names: dict[str, tuple[int, int]] = {}
    odd = False
    layers: list[int] = []
    length = min(window.size, SEARCHED * found.limits.searched_bytes)
    for start in range(0, length, PIECE):
        begin = max(0, start - BEFORE)
        data = window.read(begin, min(start + PIECE + OVERLAP, length) - begin)
        own = range(start - begin, start - begin + PIECE)  # what begins elsewhere is of another piece
        for match in OPERATOR.finditer(data):
            if match.start() in own:
                name = (match[1] or match[2]).decode("utf-8", "replace")
                count, at = names.get(name, (0, begin + match.start()))
                names[name] = (count + 1, at)
        odd = odd or ODD.search(data) is not None
        if len(layers) <= MOST_LAYERS:
            layers += [begin + match.end() for match in METADATA.finditer(data) if match.start() in own]
        for match in ATTRIBUTE.finditer(data):
            if match.start(1) not in own or match[1].decode() not in wanted:
                continue
            texts = [text.decode("utf-8", "replace") for text in STRING.findall(match[2])]
            values = told.setdefault(match[1].decode(), {})
            values.update(dict.fromkeys(texts if len(values) < MOST_VALUES else ()))
            if not texts or not match[3] or STRING.sub(b"", match[2]).strip() or len(values) >= MOST_VALUES:
                values[UNTOLD] = None  # more than these texts stands there
            mentioned[match[1].decode()] = mentioned.get(match[1].decode(), 0) - 1
        for name, written in wanted.items():
            mentioned[name] = mentioned.get(name, 0) + data.count(written, own.start, own.stop + len(written) - 1)
    if not names and not odd:
        return False
    for name, (count, at) in names.items():
        attribute = TELLING.get(name, "")
        detail = found.detail(told.get(attribute, ()), all_told=mentioned.get(attribute, 0) <= 0)
        found.add(LIBRARY, name, at, nodes=count, detail=detail)
    if odd:
        found.unseen("operators whose names are written in pieces or with escapes, which no writer does")
    _scan_layers(found, window, layers)
    if window.size > length:
        found.unseen(f"what follows the first {length:,} bytes of a graph as text (--limit searched_bytes=N)")
    found.hand_on()
    return True


def _scan_layers(found: Collected, window: Window, places: list[int]) -> None:
    """Judge the JSON in strings that begin at these places."""
    from modelscope_cli.formats.scan_keras import Layers
    from modelscope_cli.formats.scan_text import TOO_DEEP, document_of

    layers = Layers(found.scan, found.where)
    lost = max(0, len(places) - MOST_LAYERS)
    end = 0
    for place in places[:MOST_LAYERS]:
        if place < end:
            continue
        data, end = _string(window, place, found.limits.searched_bytes)
        document = document_of(data) if data.strip() else None
        broken = document is msgspec.UNSET and (b"class_name" in data or data.lstrip()[:1] in (b"{", b"["))
        if not end or document is TOO_DEEP or broken:
            lost += 1
        elif document is not msgspec.UNSET:
            layers.look(document)
    layers.tell()
    if lost:
        found.unseen(f"{lost:,} configurations of layers that are too long or no JSON (--limit searched_bytes=N)")


def _string(window: Window, at: int, most: int) -> tuple[bytes, int]:
    """The value of a string, in one piece or several, and where it ends; 0 where that is too far, or a comment parts the pieces."""
    size = FIRST_READ
    while True:
        data = window.read(at, min(size, most, window.size - at))
        found: list[bytes] = []
        end = 0
        while match := QUOTED.match(data, end):
            found.append(match[1] if match[1] is not None else match[2])
            end = match.end()
        if found and (len(data) - end > BEFORE or at + len(data) == window.size) and data[end:].strip():
            if not BEHIND.match(data, end):
                return b"", 0
            try:
                return b"".join(map(unescaped, found)), at + end
            except ValueError:
                return b"", 0
        if len(data) < size:
            return b"", 0
        size *= 8
