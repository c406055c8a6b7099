"""What all pictures have in common: colours, panels, legends, and how a figure is saved."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Any

__all__ = [
    "BAND",
    "COLOURS",
    "FAINT",
    "SEEN",
    "bare",
    "legend",
    "new_figure",
    "panels",
    "saved",
    "whole_steps",
]

#: Okabe and Ito's palette, which colour-blind readers can tell apart.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9")
#: What was observed, or is true; what stands behind it; what calibrated or equal things look like.
SEEN, FAINT, BAND = "#000000", "#808080", "#D9D9D9"


def new_figure(columns: float, rows: float, wide: float = 4.2, high: float = 3.0) -> Any:
    """A figure for so many panels; no global state knows it. Its paper is white, on dark pages too."""
    # Matplotlib takes a second to load, and most posteriors are never drawn.
    from .figure import ShownFigure

    return ShownFigure(
        figsize=(wide * columns, high * rows), layout="constrained", facecolor="white"
    )


def panels(
    titles: Sequence[str], most: int, across: int = 3, wide: float = 4.2, high: float = 2.8
) -> tuple[Any, list[Any]]:
    """A figure with a panel for each title, row by row; a line below says how many did not fit."""
    shown = titles[:most]
    columns = min(max(len(shown), 1), across)
    rows = max(-(-len(shown) // columns), 1)
    figure = new_figure(columns, rows, wide, high)
    places = [
        bare(figure.add_subplot(rows, columns, k + 1), title) for k, title in enumerate(shown)
    ]
    if len(titles) > len(shown):
        hidden = len(titles) - len(shown)
        figure.supxlabel(f"and {hidden} more; of= chooses", fontsize=9, color="#555555")
    return figure, places


def bare(axes: Any, title: str = "") -> Any:
    """Axes without a frame."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    if title:
        # A dollar sign in a name is no formula.
        axes.set_title(title, fontsize=10, parse_math=False)
    return axes


def legend(figure: Any) -> None:
    """One legend above all panels, where it hides nothing; none for a single thing without a name."""
    found: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if found:
        figure.legend(
            found.values(),
            found.keys(),
            loc="outside upper center",
            ncols=min(len(found), 4 if figure.get_figwidth() > 6 else 2),
            frameon=False,
            fontsize=8,
        )


def whole_steps(axes: Any, label: str) -> None:
    """An axis that counts."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel(label, fontsize=9)


def saved(figure: Any, path: str | PathLike[str] | None) -> Any:
    """The figure, after it was written where `path` says; the suffix decides the format."""
    if path is not None:
        figure.savefig(path, dpi=150)
    return figure
