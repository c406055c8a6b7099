"""Published networks that the tests use; each file's source is named in `tests/data/README.md`."""

from __future__ import annotations

import warnings
from pathlib import Path

import ppl

DATA = Path(__file__).resolve().parent / "data"


def network(name: str) -> ppl.Model:
    """A network of `tests/data`; that some published rows are rounded is known."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return ppl.read(DATA / f"{name}.bif")
