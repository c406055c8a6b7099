"""What a node is, as a short text that changes when its meaning does: its place in the graph, the code of its functions, and what these take from outside.

Names of files, line numbers and docstrings do not count. Functions of installed libraries count by name; everything else is read through.
"""

from __future__ import annotations

import builtins
import functools
import hashlib
import inspect
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy
import torch

from .closure import used_names
from .node import Node
from .source import written

__all__ = ["fingerprint", "is_library"]

#: Folders whose code counts by name.
LIBRARIES = tuple(
    {str(Path(sysconfig.get_paths()[k]).resolve()) for k in ("stdlib", "purelib", "platlib")}
)
#: Our own code counts by name too: a new release of it does not make a user's model another one.
OURS = ("ppl", "backends")
DEPTH = 12
#: What classes have besides their own, some of it in newer versions only.
UNTOLD = (
    "__dict__",
    "__weakref__",
    "__doc__",
    "__module__",
    "__firstlineno__",
    "__static_attributes__",
)


def fingerprint(node: Node) -> str:
    """Sixteen hexadecimal digits; equal for equal meanings, in every process; of functions without a source, in every process of one version of Python.

    Role, labels and pictures do not count, since they do not change how the node comes about.

    Example:
        >>> from ppl.graph.node import Body, Node
        >>> from functools import partial
        >>> one, two = (Node("x", "latent", Body(partial(max, n))) for n in (1, 2))
        >>> fingerprint(one) == fingerprint(two)
        False
    """
    reading = _Reading()
    reading.add(
        "node", node.plates, node.over, node.outputs, node.picks, node.determined, node.is_input
    )
    for part, body in (("body", node.body), ("start", node.start)):
        if body is not None:
            edges = tuple((p.argument, p.source, p.kind) for p in body.parents)
            reading.add(part, edges, body.rng, body.vectorized)
            reading.read(body.function)
    return reading.digest()


class _Reading:
    """Reads values into one hash, each with its kind, each object once."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._seen: dict[int, int] = {}
        self._kept: list[Any] = []  # so that no identity is given twice

    def digest(self) -> str:
        return self._hash.hexdigest()[:16]

    def add(self, *plain: Any) -> None:
        """Values whose `repr` says everything."""
        for value in plain:
            self._hash.update(repr(value).encode() + b"\0")

    def read(self, value: Any, depth: int = DEPTH) -> None:
        """A value by its content."""
        if value is None or isinstance(value, bool | int | float | complex | str | bytes):
            self.add(type(value).__name__, value)
            return
        if id(value) in self._seen:
            self.add("again", self._seen[id(value)])
            return
        self._seen[id(value)] = len(self._seen)
        self._kept.append(value)
        if depth == 0:
            self.add("deep", type(value).__qualname__)
            return
        if isinstance(value, torch.Tensor):
            value = value.detach().cpu().numpy()
        if isinstance(value, numpy.ndarray) and value.dtype != object:
            self.add("array", value.dtype.str, value.shape)
            self._hash.update(numpy.ascontiguousarray(value).tobytes())
        elif isinstance(value, list | tuple):
            self.add(type(value).__name__, len(value))
            for item in value:
                self.read(item, depth - 1)
        elif isinstance(value, set | frozenset):
            self.add("set", sorted(map(repr, value)))
        elif isinstance(value, dict):
            self.add("dict", len(value))
            for key, item in value.items():
                self.add(key)
                self.read(item, depth - 1)
        elif isinstance(value, ModuleType):
            self.add("module", value.__name__)
        elif isinstance(value, functools.partial):
            self.read((value.func, value.args, value.keywords), depth - 1)
        elif isinstance(value, MethodType):
            self.read((value.__func__, value.__self__), depth - 1)
        elif isinstance(value, BuiltinFunctionType | FunctionType | type) and is_library(value):
            self.add("library", value.__module__, value.__qualname__)
        elif isinstance(value, FunctionType):
            self._function(value, depth)
        elif isinstance(value, type):
            own = {k: v for k, v in vars(value).items() if k not in UNTOLD}
            self.add("class", value.__qualname__)
            self.read(own, depth - 1)
        else:
            self._object(value, depth)

    def _function(self, function: Callable[..., Any], depth: int) -> None:
        inner = inspect.unwrap(function)
        code: CodeType = inner.__code__  # type: ignore[attr-defined]
        self.add("function")
        text = written(code)
        if text is None:
            self._code(code, inner.__doc__, depth)
        else:
            self.add(text)
        self.read((inner.__defaults__, inner.__kwdefaults__), depth - 1)  # type: ignore[attr-defined]
        for name, cell in zip(code.co_freevars, inner.__closure__ or (), strict=True):  # type: ignore[attr-defined]
            self.add(name)
            try:
                self.read(cell.cell_contents, depth - 1)
            except ValueError:  # not filled yet
                self.add("empty")
        for name in sorted(set(used_names(code))):
            if name in inner.__globals__:  # type: ignore[attr-defined]
                self.add(name)
                self.read(inner.__globals__[name], depth - 1)  # type: ignore[attr-defined]

    def _code(self, code: CodeType, doc: str | None, depth: int) -> None:
        self.add("code", code.co_argcount, code.co_kwonlyargcount, code.co_flags, code.co_names)
        self.add(code.co_varnames, code.co_freevars, code.co_code)
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                self._code(constant, None, depth)
            elif doc is None or constant != doc:
                self.add(type(constant).__name__)
                self.add(
                    sorted(map(repr, constant)) if isinstance(constant, frozenset) else constant
                )

    def _object(self, value: Any, depth: int) -> None:
        """An object by what pickle would write of it."""
        self.add("object", type(value).__module__, type(value).__qualname__)
        if not is_library(type(value)):
            self.read(type(value), depth - 1)
        try:
            parts = value.__reduce_ex__(4)
        except (
            Exception
        ):  # what cannot be written down counts by its type; the probes tell the rest
            return
        if isinstance(parts, str):
            self.add(parts)
            return
        self.read(tuple(parts[1:3]), depth - 1)
        for items in parts[3:5]:
            if items is not None:
                self.read(list(items), depth - 1)


def is_library(value: Any) -> bool:
    """Whether a function or class belongs to Python, to an installed package, or to us."""
    name = getattr(value, "__module__", None) or "builtins"
    if name == "builtins" and _nameless(value):
        return False
    if name.split(".")[0] in OURS or name.split(".")[0] in sys.stdlib_module_names:
        return name != "__main__"
    file = getattr(sys.modules.get(name), "__file__", None)
    return file is not None and str(Path(file).resolve()).startswith(LIBRARIES)


def _nameless(value: Any) -> bool:
    """Whether a function or class comes from a text that was run without a module's name, which looks like Python's own."""
    if isinstance(value, FunctionType):
        return True  # Python's own are not written in Python
    heap = 1 << 9  # made by a class statement, as a few of Python's own are
    return (
        isinstance(value, type)
        and bool(value.__flags__ & heap)
        and getattr(builtins, value.__name__, None) is not value
    )
