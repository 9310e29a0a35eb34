"""TensorFlow graphs written as text: TensorFlow loads a saved_model.pbtxt where there is no saved_model.pb.

    node { name: "w" op: "WriteFile" attr { key: "output_stream" value { s: "stderr" } } }
                        protobuf.dev/reference/protobuf/textformat-spec

The text is searched, not parsed. What the format allows beside plain strings (escapes, strings in several pieces, comments in between)
no writer puts into the name of an operator, so what is written so is said to be not looked at.
"""

from __future__ import annotations

import re

from modelscope_cli.core.scanned import UNTOLD
from modelscope_cli.core.window import Window
from modelscope_cli.formats.scan_graphs import Collected
from modelscope_cli.formats.scan_tensorflow import LIBRARY, TELLING

SEARCHED = 8  # times searched_bytes
MOST_VALUES = 1_000  # of an attribute that are kept
PIECE, OVERLAP, BEFORE = 1 << 20, 4_096, 256
OPERATOR = re.compile(rb"""(?<![\w"'])op\s*:\s*(?:"([^"'\\\n]{1,200})"|'([^"'\\\n]{1,200})')(?!\s*["'#])""")
ODD = re.compile(rb"""(?<![\w"'])(?:op|key)\s*(?:\#|:\s*(?:\#|["'][^"'\n]{0,400}(?:\\|["']\s*["'\#])))""")
LAMBDA = re.compile(rb"""\\?"class_name\\?"\s*:\s*\\?"(?:Lambda|__lambda__)\\?\"""")
ESCAPED = re.compile(rb"\\(?:[0-7xuU])[0-9A-Fa-f]")
ATTRIBUTE = re.compile(rb"""key\s*:\s*"(\w{1,40})"\s*value\s*:?\s*\{([^{}]{0,400})""")
STRING = re.compile(rb"""(?<!\w)s\s*:\s*"([^"\n]{0,300})\"""")


def scan_pbtxt(found: Collected, window: Window) -> bool:
    """Search a text for operators and Lambda layers. Returns whether it has any."""
    told: dict[str, dict[str, None]] = {}
    wanted = {name: name.encode() for name in set(TELLING.values())}
    mentioned: dict[str, int] = {}
    names: dict[str, tuple[int, int]] = {}
    odd = lambdas = False
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
        lambdas = lambdas or LAMBDA.search(data) is not None or (b"class_name" in data and ESCAPED.search(data) is not None)
        for match in ATTRIBUTE.finditer(data):
            if match.start(1) not in own or match[1].decode() not in wanted:
                continue
            texts = [text.decode("utf-8", "replace") for text in STRING.findall(match[2])]
            values = told.setdefault(match[1].decode(), {})
            if len(values) < MOST_VALUES:
                values.update(dict.fromkeys(texts or [UNTOLD]))
            else:
                values[UNTOLD] = None
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
    if lambdas:
        found.sign("keras-lambda", "a Lambda layer, or letters of its configuration written as escapes, which hide one", 0)
    if window.size > length:
        found.unseen(f"what follows the first {length:,} bytes of a graph as text (--limit searched_bytes=N)")
    found.hand_on()
    return True
