"""What all pictures have in common: colours, axes, and how a figure is saved."""

from __future__ import annotations

from os import PathLike
from typing import Any

__all__ = ["COLOURS", "SEEN", "bare", "new_figure", "saved"]

#: Okabe and Ito's palette, which colour-blind readers can tell apart.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9")
#: What was observed, or is true.
SEEN = "#000000"


def new_figure(columns: float, rows: float, wide: float = 4.2, high: float = 3.0) -> Any:
    """A figure for so many panels; notebooks show it, and no global state knows it."""
    from matplotlib.figure import Figure

    return Figure(figsize=(wide * columns, high * rows), layout="constrained")


def bare(axes: Any, title: str = "") -> Any:
    """Axes without a frame."""
    axes.spines[["top", "right"]].set_visible(False)
    if title:
        axes.set_title(title, fontsize=10)
    return axes


def saved(figure: Any, path: str | PathLike[str] | None) -> Any:
    """The figure, after it was written where `path` says; the suffix decides the format."""
    if path is not None:
        figure.savefig(path, dpi=150)
    return figure
