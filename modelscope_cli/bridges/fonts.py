"""Letters beyond those of the base fonts: where a font for them is, and words set in it.

Fonts are asked of fontconfig where it is installed, and else looked for where the systems keep them. Nothing is bundled:
a font for Chinese, Japanese and Korean is larger than this whole program.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import Any

from modelscope_cli.bridges.programs import find, find_wheel, run
from modelscope_cli.errors import DrawingError
from modelscope_cli.render.dot import render
from modelscope_cli.render.letters import width
from modelscope_cli.report.scene import LEFT, MIDDLE, RIGHT, Scene, Words

PDF_PIXELS = 6.0  # a point, of words painted as pictures into a PDF
PATIENCE = 10.0  # seconds for fontconfig
POINTS = 72.0  # in an inch
FAR = re.compile("[^\u0000-\u052f\u1e00-\u1fff\u2000-\u22ff\ufb01\ufb02]")  # letters beyond Latin, Greek, Cyrillic and signs
USUAL_PLACES = (
    "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/noto-cjk/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/google-noto-cjk/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/truetype/wqy/wqy-zenhei.ttc",
    "/usr/share/fonts/truetype/droid/DroidSansFallbackFull.ttf",
    "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
    "/System/Library/Fonts/PingFang.ttc",
    "/System/Library/Fonts/Hiragino Sans GB.ttc",
    "/System/Library/Fonts/Supplemental/Arial Unicode.ttf",
    "/Library/Fonts/Arial Unicode.ttf",
    "C:\\Windows\\Fonts\\msyh.ttc",
    "C:\\Windows\\Fonts\\msgothic.ttc",
    "C:\\Windows\\Fonts\\malgun.ttf",
    "C:\\Windows\\Fonts\\simsun.ttc",
    "C:\\Windows\\Fonts\\segoeui.ttf",
    "C:\\Windows\\Fonts\\arial.ttf",
)
ABSENT = "\U0010fffd"  # a character that no font has, to know its sign for missing ones by
SYMBOLS = "→"  # what PDF takes from the font Symbol


def in_base_fonts(text: str) -> bool:
    """Whether the fonts of every PDF reader have all letters."""
    if text.isascii():
        return True
    try:
        text.replace(SYMBOLS, "").encode("cp1252")
    except UnicodeEncodeError:
        return False
    return True


def right_to_left(text: str) -> bool:
    """Whether letters of a text run against the order they are stored in: Hebrew, Arabic."""
    return any(unicodedata.bidirectional(letter) in ("R", "AL") for letter in text)


def font_for(text: str) -> str | None:
    """A font file that has every letter of a text."""
    letters = "".join(sorted({letter for letter in text if not letter.isascii() and not letter.isspace()}))
    return _font_for(letters)


@cache
def _font_for(letters: str) -> str | None:
    for path in [*asked(letters), *USUAL_PLACES]:
        if os.path.isfile(path) and has_letters(path, letters):
            return path
    return None


def asked(letters: str) -> list[str]:
    """Fonts that fontconfig says have the letters; upright and regular ones first."""
    charset = " ".join(f"{ord(letter):x}" for letter in letters[:20])
    try:
        program = find("fc-list")
        if program is None:
            return []
        done = subprocess.run(
            [program, f":charset={charset}", "file", "style"], capture_output=True, timeout=PATIENCE, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return []
    found = []
    for line in done.stdout.decode(errors="replace").splitlines():
        path, _, style = line.partition(":")
        odd = any(word in path for word in ("Serif", "Mono", "Math", "Narrow", "Condensed"))
        large = "CJK" in path  # has other letters too, but they cannot be embedded
        upright = any(word in style for word in ("Regular", "Book", "Normal"))
        found.append((not upright, odd, large, path.strip()))
    return [path for *_, path in sorted(set(found))][:6]


@cache
def has_letters(path: str, letters: str) -> bool:
    """Whether a font paints every letter otherwise than its sign for a missing one."""
    font = loaded(path, 20)
    if font is None:
        return False
    missing = bytes(font.getmask(ABSENT))
    return all(bytes(font.getmask(letter)) != missing for letter in letters)


@cache
def loaded(path: str, size: int) -> Any:
    """A font in Pillow; None where it cannot be read."""
    from PIL import ImageFont

    try:
        return ImageFont.truetype(path, size)
    except OSError:
        return None


@cache
def embeddable(text: str) -> str | None:
    """The name under which reportlab knows a TrueType font for the text; None where there is none it can embed."""
    path = font_for(text)
    if path is None:
        return None
    from reportlab.pdfbase.pdfmetrics import registerFont
    from reportlab.pdfbase.ttfonts import TTFError, TTFont

    name = f"mscope-{os.path.basename(path)}"
    try:
        registerFont(TTFont(name, path))
    except (TTFError, OSError, ValueError, IndexError, KeyError, AssertionError):
        return None
    return name


def bitmap(words: Words, pixels: float, *, anything: bool = False) -> Any:
    """The words as a picture of `pixels` a point on nothing; None without a font. `anything`: in whatever font there is."""
    from PIL import Image, ImageDraw, ImageFont

    path = font_for(words.text)
    size = max(1, round(words.size * pixels))
    font = loaded(path, size) if path else ImageFont.load_default(size) if anything else None
    if font is None:
        return None
    left, top, right, bottom = font.getbbox(words.text)
    image = Image.new("RGBA", (max(1, int(right - left) + 2), max(1, int(size * 1.5))), (255, 255, 255, 0))
    ink = tuple(int(words.ink[i : i + 2], 16) for i in (1, 3, 5))
    place = (1 - left, image.height / 2 - (top + bottom) / 2)
    ImageDraw.Draw(image).text(
        place, words.text, font=font, fill=(*ink, 255), stroke_width=round(size / 24) if words.bold else 0
    )
    return image


def bitmap_by_wheel(words: Words, pixels: float) -> Any:
    """The same by graphviz-pure, whose fonts have Latin, Greek and Cyrillic; None without it or for other letters."""
    from PIL import Image

    program = find_wheel()
    if program is None or FAR.search(words.text):
        return None
    wide, high = width(words.text, words.size, bold=words.bold) + 4, words.size * 1.5
    alone = words._replace(x=wide / 2, y=high / 2, anchor=MIDDLE)
    text = render(Scene("words", wide, high, "transparent", [alone]))
    try:
        data = run(program, text, "png", f"-Gdpi={POINTS * pixels}")
    except (OSError, subprocess.SubprocessError, DrawingError):
        return None
    with Image.open(io.BytesIO(data)) as opened:
        image = opened.convert("RGBA")
    left, _, right, _ = image.getbbox() or (0, 0, image.width, 0)
    return image.crop((left, 0, right, image.height))


def paint_words(png: bytes, words: Sequence[Words], width: float) -> tuple[bytes, tuple[str, ...]]:
    """A PNG of a page so many points wide, with words painted on it; and warnings."""
    from PIL import Image

    with Image.open(io.BytesIO(png)) as opened:
        page = opened.convert("RGBA")
    pixels = page.width / width
    for each in words:
        image = bitmap(each, pixels, anything=True)
        if image is None:
            continue
        x = each.x * pixels
        x -= 0 if each.anchor == LEFT else image.width if each.anchor == RIGHT else image.width / 2
        page.alpha_composite(image, (max(0, round(x)), max(0, round(each.y * pixels - image.height / 2))))
    buffer = io.BytesIO()
    page.convert("RGB").save(buffer, "PNG", optimize=False)
    return buffer.getvalue(), without_font(words)


def without_font(words: Sequence[Words]) -> tuple[str, ...]:
    """A warning when there are words that no font here has the letters for."""
    lost = sorted({each.text for each in words if font_for(each.text) is None})
    if not lost:
        return ()
    example = lost[0] if len(lost[0]) <= 60 else lost[0][:57] + "…"
    return (
        f"no font here has all letters of {example!r}{f' and {len(lost) - 1} more' if len(lost) > 1 else ''}: "
        "they are boxes in this picture. Install a font that has them (Noto Sans CJK for Chinese, Japanese and Korean), "
        "or take -f svg, which keeps them as text",
    )
