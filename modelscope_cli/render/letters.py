"""How wide text becomes, without a font: the widest that it gets in the sans-serif fonts people have.

Advance widths in thousandths of the size, the larger of DejaVu Sans (Verdana has the same proportions) and Liberation Sans
(those of Helvetica and Arial), so that what fits here fits whichever of them is there.
"""

from __future__ import annotations

import unicodedata

# from the space to the tilde
REGULAR = (
    318, 401, 460, 838, 636, 950, 780, 275, 390, 390, 500, 838, 318, 361, 318, 337, 636, 636, 636, 636, 636, 636, 636, 636,
    636, 636, 337, 337, 838, 838, 838, 556, 1015, 684, 686, 722, 770, 667, 611, 778, 752, 295, 500, 667, 557, 863, 748, 787,
    667, 787, 722, 667, 611, 732, 684, 989, 685, 667, 685, 390, 337, 390, 838, 556, 500, 613, 635, 550, 635, 615, 352, 635,
    634, 278, 278, 579, 278, 974, 634, 612, 635, 635, 411, 521, 392, 634, 592, 818, 592, 592, 525, 636, 337, 636, 838,
)  # fmt: skip
BOLD = (
    348, 456, 521, 838, 696, 1002, 872, 306, 457, 457, 523, 838, 380, 415, 380, 365, 696, 696, 696, 696, 696, 696, 696, 696,
    696, 696, 400, 400, 838, 838, 838, 611, 1000, 774, 762, 734, 830, 683, 683, 821, 837, 372, 556, 775, 637, 995, 837, 850,
    733, 850, 770, 720, 682, 812, 774, 1103, 771, 724, 725, 457, 365, 457, 838, 556, 500, 675, 716, 593, 716, 678, 435, 716,
    712, 343, 343, 665, 343, 1042, 712, 687, 716, 716, 493, 595, 478, 712, 652, 924, 645, 652, 582, 712, 365, 712, 838,
)  # fmt: skip
SIGNS = {"·": 380, "–": 556, "…": 1000, "→": 1000, "×": 838, "—": 1000}
OTHER = 850  # letters that are in neither table
WIDE = 1050  # Chinese, Japanese and Korean characters fill a square
ELLIPSIS = "…"
SLACK = 0.01  # sums of fractions


def width(text: str, size: float, *, bold: bool = False) -> float:
    """The width of a text in the unit of `size`."""
    table = BOLD if bold else REGULAR
    total = 0
    for letter in text:
        code = ord(letter)
        if 32 <= code < 127:
            total += table[code - 32]
        elif letter in SIGNS:
            total += SIGNS[letter]
        else:
            total += WIDE if unicodedata.east_asian_width(letter) in "WF" else 0 if unicodedata.combining(letter) else OTHER
    return total * size / 1000


def fitted(text: str, room: float, size: float, *, bold: bool = False) -> str:
    """The text, or its beginning and end around an ellipsis where it is wider than the room. Empty when nothing fits."""
    if width(text, size, bold=bold) <= room + SLACK:
        return text
    if width(ELLIPSIS, size, bold=bold) > room:
        return ""
    text = text if len(text) < 400 else text[:200] + text[-200:]
    low, high = 0, len(text) - 1  # letters kept
    while low < high:
        kept = (low + high + 1) // 2
        if width(_shortened(text, kept), size, bold=bold) <= room:
            low = kept
        else:
            high = kept - 1
    return _shortened(text, low)


def _shortened(text: str, kept: int) -> str:
    """`kept` letters of a text: of a path the end says more than the beginning."""
    head = kept // 2
    return text[:head] + ELLIPSIS + text[len(text) - (kept - head) :]
