"""The figures of a posterior: which of its pictures a report shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import GaltonError
from .image import Image, of_figure

if TYPE_CHECKING:
    from ..posterior import Posterior

__all__ = ["figure"]


def figure(posterior: Posterior, kind: str, words: str, of: str | None = None) -> Image | None:
    """One picture of a posterior, or `None` where its route cannot have it.

    Args:
        posterior: The posterior.
        kind: As `posterior.plot(kind=...)` takes it.
        words: What there is to see.
        of: One node, if the picture is of one.
    """
    chosen: dict[str, Any] = {"kind": kind} if of is None else {"kind": kind, "of": [of]}
    try:
        return of_figure(posterior.plot(**chosen), words)
    except GaltonError:  # no chains, no training: it says so itself where it is asked for by name
        return None
