"""Whether bytes may hold a text that is evaluated, told without looking at any text: what every scan asks of every pickle.

A bracket behind a name and one of some words, a key that is known, or letters behind an escape. Only then evaluated_words is needed.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelscope_cli.core.window import Window

SPECIAL = "import|builtins|self|subclasses|globals|getattribute|dict|bases?|mro|loader|code"
ATTRIBUTES = (
    "system|popen|Popen|posix_spawnp?|spawn[lv]p?e?|exec[lv]p?e?|import_module|load_module|exec_module|run_module|run_path|run_code"
    "|check_output|check_call|getoutput|getstatusoutput|startfile|rmtree|urlopen|urlretrieve|load_library|LoadLibrary|CDLL"
)
MODULES = "subprocess|ctypes|pty|runpy|importlib|posix|nt|socket|shutil|marshal"  # of which any call is told
UNPICKLERS = "pickle|cloudpickle|dill|joblib"
# Letters that Python takes for those of ASCII: full-width and mathematical ones, ligatures, those in circles or raised.
COMPATIBLE = (
    rb"\xef\xbc[\xa1-\xbf]|\xef\xbd[\x81-\x9a]|\xef\xac[\x80-\x86]|\xef\xb8[\xb3\xb4]|\xef\xb9[\x8d-\x8f]|\xf0\x9d[\x90-\x9f]"
    rb"|\xc2[\xaa\xba]|\xc5\xbf|\xca[\xb0-\xb8]|\xcb[\xa0-\xa3]|\xe1\xb4[\xac-\xbf]|\xe1\xb5[\x80-\xaf]|\xe1\xb6[\x9b-\xbf]"
    rb"|\xe2\x81[\xb1\xbf]|\xe2\x82[\x90-\x9c]|\xe2\x84[\x80-\xbf]|\xe2\x85[\x80-\xbf]|\xe2\xb1[\xbc\xbd]|\xea\x9f[\xb2-\xb4]"
)
HINTS = (
    f"__(?:{SPECIAL})__|eval\\b|exec\\b|execfile\\b|compile\\b|open\\b|globals\\b|locals\\b|vars\\b|getattr\\b|{MODULES}|builtins|{UNPICKLERS}|{ATTRIBUTES}"
    r"|sys\s*\.\s*modules|hub\s*\.\s*load|os\s*\."
)
# A bracket behind a name, and a text behind it: few files of numbers or words have one. In JSON a quote has a stroke before it.
BRACKET_BYTES = re.compile(
    rb"\((?<=[\w\s)\]\"'/\\\x80-\xff]\()(?=[^\0-\x08\x0b\x0e-\x1f]{3})(?=\s*(?:\\.|['\w(\[{\x80-\xff#*+~.-]|\"|\)\s*[\[(.]))"
)
MOST_BRACKETS = 5_000  # that are looked around
AROUND = 64  # bytes
# Of a pickle: a call, a key, or letters behind an escape, which its oldest protocol has.
IN_PICKLE = (b"_instantiator", b"conv_feature_layers", b"conv_aggregator_layers")
ESCAPED = re.compile(rb"\\(?:u00|x[2-7]|U0|[01][0-7]{2})")


@cache
def hint_bytes() -> re.Pattern[bytes]:
    """The words, in bytes; most files have no such bracket, and never ask."""
    return re.compile(HINTS.encode() + b"|" + COMPATIBLE)


def may_call(data: bytes) -> bool:
    """Whether bytes that are mostly no such text may have a call in them: a bracket with one of the words around it."""
    for count, match in enumerate(BRACKET_BYTES.finditer(data)):
        if count >= MOST_BRACKETS or hint_bytes().search(data, max(0, match.start() - AROUND), match.end() + AROUND):
            return True
    return False


def may_be_evaluated(data: bytes | bytearray, start: int = 0, stop: int | None = None) -> bool:
    """Whether texts in a pickle may be evaluated: its object has to be looked through then."""
    stop = len(data) if stop is None else stop
    if any(data.find(word, start, stop) >= 0 for word in IN_PICKLE):
        return True
    if ESCAPED.search(data, start, stop) is not None:
        return True
    return BRACKET_BYTES.search(data, start, stop) is not None and hint_bytes().search(data, start, stop) is not None


def window_may_be_evaluated(window: Window, length: int) -> bool:
    """The same of so many first bytes of a window."""
    return may_be_evaluated(window.read(0, min(length, window.size)))
