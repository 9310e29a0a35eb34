"""A scene as PDF, on reportlab's canvas: the fourteen fonts that every reader has, so nothing is embedded and files are small.

Helvetica has the letters of Western Europe, and reportlab takes → from Symbol. Words with other letters are set in a
TrueType font of the system or, where that has its outlines in a form reportlab does not embed (.otf, Noto CJK) or the words
run from right to left, painted as pictures.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from modelscope_cli.render.curves import HEAD, before_head, bezier
from modelscope_cli.report.scene import LEFT, RIGHT, Arrow, Box, Frame, Item, Scene, Words

LARGEST_PAGE = 14_400.0  # points, the limit of PDF
RADIUS = 12.0  # of rounded corners, as Graphviz draws them: a third of the side, at most this
HALF_HEAD = 3.0  # half as wide as the point of an arrow is
ASCENT = 0.36  # from the middle of a line of text down to its baseline, in its size


def paint_pdf(scene: Scene) -> tuple[bytes, tuple[str, ...]]:
    """The document, its page no longer than LARGEST_PAGE, and warnings about letters for which there is no font."""
    from reportlab.pdfgen.canvas import Canvas

    from modelscope_cli.bridges import fonts

    buffer = io.BytesIO()
    shrink = min(1.0, LARGEST_PAGE / max(scene.width, scene.height))
    canvas = Canvas(buffer, pagesize=(scene.width * shrink, scene.height * shrink), invariant=1, pageCompression=1)
    canvas.setTitle(scene.title)
    canvas.setCreator("modelscope-cli")
    canvas.scale(shrink, shrink)
    painter = Painter(canvas, scene.height)
    painter.box(Box(0, 0, scene.width, scene.height, scene.background))
    painter.items(scene.items)
    canvas.showPage()
    canvas.save()
    return buffer.getvalue(), fonts.without_font(painter.lost)


class Painter:
    """Puts items on a canvas, whose heights count from the foot of the page."""

    def __init__(self, canvas: Any, height: float):
        self.canvas = canvas
        self.height = height
        self.lost: list[Words] = []  # for which there is no font

    def items(self, items: Sequence[Item]) -> None:
        """Paint items; arrows last, over everything."""
        for item in items:
            if isinstance(item, Box):
                self.box(item)
            elif isinstance(item, Words):
                self.words(item)
            elif isinstance(item, Frame):
                self.box(item.box._replace(rounded=True))
                self.items(item.items)
        for item in items:
            if isinstance(item, Arrow):
                self.arrow(item)

    def box(self, box: Box) -> None:
        from reportlab.lib.colors import HexColor

        canvas = self.canvas
        if box.fill:
            canvas.setFillColor(HexColor(box.fill))
        if box.stroke:
            canvas.setStrokeColor(HexColor(box.stroke))
            canvas.setLineWidth(box.line)
        canvas.setDash([4, 2] if box.dashed else [])
        place = (box.x, self.height - box.y - box.height, box.width, box.height)
        fill, stroke = int(box.fill is not None), int(box.stroke is not None)
        if box.rounded:
            canvas.roundRect(*place, min(RADIUS, box.width / 3, box.height / 3), stroke=stroke, fill=fill)
        else:
            canvas.rect(*place, stroke=stroke, fill=fill)

    def words(self, words: Words) -> None:
        from reportlab.lib.colors import HexColor

        from modelscope_cli.bridges import fonts

        font = "Helvetica-Bold" if words.bold else "Helvetica"
        if not fonts.in_base_fonts(words.text):
            embedded = None if fonts.right_to_left(words.text) else fonts.embeddable(words.text)
            if embedded is None:
                self.picture(words)
                return
            font = embedded
        canvas = self.canvas
        canvas.setFillColor(HexColor(words.ink))
        canvas.setFont(font, words.size)
        baseline = self.height - words.y - words.size * ASCENT
        if words.anchor == LEFT:
            canvas.drawString(words.x, baseline, words.text)
        elif words.anchor == RIGHT:
            canvas.drawRightString(words.x, baseline, words.text)
        else:
            canvas.drawCentredString(words.x, baseline, words.text)

    def picture(self, words: Words) -> None:
        """Words as a bitmap, where they run from right to left or a font for them can be painted with but not embedded; else what Helvetica makes of them."""
        from reportlab.lib.utils import ImageReader

        from modelscope_cli.bridges import fonts

        image = fonts.bitmap(words, fonts.PDF_PIXELS) or fonts.bitmap_by_wheel(words, fonts.PDF_PIXELS)
        if image is None:
            self.lost.append(words)
            image = fonts.bitmap(words, fonts.PDF_PIXELS, anything=True)
        wide, high = image.width / fonts.PDF_PIXELS, image.height / fonts.PDF_PIXELS
        x = words.x if words.anchor == LEFT else words.x - wide if words.anchor == RIGHT else words.x - wide / 2
        self.canvas.drawImage(ImageReader(image), x, self.height - words.y - high / 2, wide, high, mask="auto")

    def arrow(self, arrow: Arrow) -> None:
        from reportlab.lib.colors import HexColor

        canvas = self.canvas
        canvas.setStrokeColor(HexColor(arrow.ink))
        canvas.setFillColor(HexColor(arrow.ink))
        canvas.setLineWidth(arrow.line)
        canvas.setDash([5, 3] if arrow.dashed else [])
        points = [(x, self.height - y) for x, y in arrow.points]
        tip = points[-1]
        if arrow.head:
            points = before_head(points)
        curve = bezier(points)
        path = canvas.beginPath()
        path.moveTo(*curve[0])
        for step in range(1, len(curve), 3):
            path.curveTo(*curve[step], *curve[step + 1], *curve[step + 2])
        canvas.drawPath(path, stroke=1, fill=0)
        if arrow.head:
            (bx, by) = points[-1]
            ax, ay = (tip[0] - bx) / HEAD, (tip[1] - by) / HEAD
            canvas.setDash([])
            point = canvas.beginPath()
            point.moveTo(*tip)
            point.lineTo(bx - ay * HALF_HEAD, by + ax * HALF_HEAD)
            point.lineTo(bx + ay * HALF_HEAD, by - ax * HALF_HEAD)
            point.close()
            canvas.drawPath(point, stroke=0, fill=1)
