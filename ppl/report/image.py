"""A picture in a page: an image that is written into the file itself.

Pictures are images rather than elements of the page, so that nothing in them is ever run, whatever the labels of a model say.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

from ..errors import BackendError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Image", "of_drawing", "of_figure"]

#: An SVG of more bytes has so many points that their image is smaller.
HEAVY = 300_000
#: Pixels of a screen for each point of a drawing, and for each inch of a figure.
POINT, INCH = 4 / 3, 96.0
#: The share of its width at which the words of a picture still can be read.
LEAST = 0.55


@dataclass(frozen=True)
class Image:
    """An image.

    Args:
        source: A `data:` address.
        width: In pixels.
        height: In pixels.
        words: What there is to see, for those who cannot.
    """

    source: str
    width: int
    height: int
    words: str

    @property
    def least(self) -> int:
        """The width below which it is not shrunk any more, but moved to and fro."""
        return min(self.width, max(320, round(LEAST * self.width)))


def of_figure(figure: Figure, words: str) -> Image:
    """A matplotlib figure, as lines; as points where there are very many of them."""
    content = _saved(figure, "svg")
    mime = "image/svg+xml"
    if len(content) > HEAVY:
        content, mime = _saved(figure, "png"), "image/png"
    wide, high = figure.get_size_inches()
    return Image(_address(content, mime), round(wide * INCH), round(high * INCH), words)


def of_drawing(drawing: Any, words: str) -> Image | None:
    """A picture of a graph, or `None` where no program can draw it."""
    try:
        content = drawing.pipe("svg")
    except BackendError:
        return None
    sizes = [
        float(found[1]) * POINT if (found := re.search(pattern, content)) else 600.0
        for pattern in (rb'<svg[^>]* width="([\d.]+)pt"', rb'<svg[^>]* height="([\d.]+)pt"')
    ]
    return Image(_address(content, "image/svg+xml"), round(sizes[0]), round(sizes[1]), words)


def _saved(figure: Figure, format: str) -> bytes:
    import matplotlib

    # Without a date, and with names of parts that depend on nothing but the figure, equal figures are equal files.
    nothing = {"svg": {"Date": None}, "png": {"Software": None}}[format]
    file = BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "galton", "svg.fonttype": "path"}):
        figure.savefig(file, format=format, dpi=160, metadata=nothing)
    return file.getvalue()


def _address(content: bytes, mime: str) -> str:
    return f"data:{mime};base64,{base64.b64encode(content).decode()}"
