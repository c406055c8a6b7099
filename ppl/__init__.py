"""Galton: write the model once; the compiler finds the inference.

A generative model is written as small decorated functions, which are an explicit DAG. `compile` decides how a question is answered and
says why; `infer` answers it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .public import *  # noqa: F403


def __getattr__(name: str) -> Any:
    """A public name, or a package of ours; the first use loads them all."""
    if name.startswith("__") and name != "__all__":
        raise AttributeError(name)
    public = import_module("ppl.public")
    globals().update({key: getattr(public, key) for key in ("__all__", *public.__all__)})
    if name not in globals():
        raise AttributeError(f"module 'ppl' has no attribute '{name}'")
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *import_module("ppl.public").__all__})
