"""Galton: write the model once; the compiler finds the inference.

A generative model is written as small decorated functions, which are an explicit DAG. `compile` decides how a question is answered and
says why; `infer` answers it.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .public import *  # noqa: F403


def __getattr__(name: str) -> Any:
    """A public name, or a package of ours; the first use loads them all."""
    if name.startswith("__") and name != "__all__":
        raise AttributeError(name)
    public = import_module("ppl.public")
    known = vars(sys.modules[__name__])
    known.update({key: getattr(public, key) for key in ("__all__", *public.__all__)})
    if name not in known:
        raise AttributeError(f"module 'ppl' has no attribute '{name}'")
    return known[name]


def __dir__() -> list[str]:
    return sorted({*vars(sys.modules[__name__]), *import_module("ppl.public").__all__})


class _Ppl(ModuleType):
    """This module, in which importing the file `ppl/infer.py` puts no module where the function `ppl.infer` is."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in ("fit", "infer") or not isinstance(value, ModuleType):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Ppl
