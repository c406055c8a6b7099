"""A recorded function of one row as machine code: written out as C, number by number, and compiled by the system's compiler where there is one.

A body that solves a differential equation leaves thousands of operations on a few numbers each. As tensor operations these cost a dispatch
apiece; written out for one row and looped over all of them they cost about a nanosecond. Only operations that are listed here are written out; a
function with any other, or one that would be too long, is left to torch.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import Tensor

from .recorded import agree, nudged
from .recording import Name, flat, record
from .scalars import Program, Unwritten

__all__ = ["Draft", "Native", "compiler"]

#: Statements that are compiled at most; a compiler takes about a second for five thousand.
LONGEST = 25_000
#: Where an operation makes more numbers than this, for one row, torch is as fast.
WIDE = 64
#: Seconds that the compiler may take.
PATIENCE = 60

HEAD = """
#include <math.h>
static double digamma(double x) {
    double s = 0, y, p = 0;
    if (x == 0) return -INFINITY;
    if (x < 0) {
        if (x == floor(x)) return NAN;
        return digamma(1 - x) - M_PI / tan(M_PI * x);
    }
    while (x < 10) { s -= 1 / x; x += 1; }
    y = 1 / (x * x);
    p = y * (1.0/12 - y * (1.0/120 - y * (1.0/252 - y * (1.0/240 - y * (1.0/132 - y * (691.0/32760 - y / 12))))));
    return s + log(x) - 0.5 / x - p;
}
static double trigamma(double x) {
    double s = 0, y;
    while (x < 15) { s += 1 / (x * x); x += 1; }
    y = 1 / (x * x);
    return s + 1 / x + y / 2 + y / x * (1.0/6 - y * (1.0/30 - y * (1.0/42 - y * (1.0/30 - y * (5.0/66 - y * 691.0/2730)))));
}
"""


@cache
def compiler() -> str | None:
    """The C compiler: the one that the variable CC names, or cc, gcc or clang; set GALTON_NATIVE=0 to do without."""
    if os.environ.get("GALTON_NATIVE") == "0":
        return None
    named = os.environ.get("CC", "").split()
    return next(
        (found for name in (*named[:1], "cc", "gcc", "clang") if (found := shutil.which(name))),
        None,
    )


class Native:
    """A function of tensors, row by row.

    Args:
        run: The compiled function.
        inputs: Numbers of one row, over all arguments.
        shapes: The shape of each output of one row.
        like: The nesting of the outputs.
        keep: What must live as long as the function.
    """

    def __init__(
        self, run: Any, inputs: int, shapes: Sequence[tuple[int, ...]], like: Any, keep: Any
    ):
        self._run, self._inputs, self._like, self._keep = run, inputs, like, keep
        self._shapes = [tuple(s) for s in shapes]
        self._sizes = [prod(s) for s in self._shapes]

    @classmethod
    def of(cls, function: Callable[..., Any], example: Sequence[Any]) -> Native | None:
        """Write a function out and compile it; `None` where that cannot be done."""
        draft = Draft.of(function, example)
        return None if draft is None else draft.compiled(example)

    def __call__(self, *arguments: Any) -> Any:
        tensors = flat(arguments)
        n = len(tensors[0])
        x, place = numpy.empty((n, self._inputs)), 0
        for tensor in tensors:
            part = tensor.numpy().reshape((len(tensor), -1))
            x[:, place : place + part.shape[1]] = part
            place += part.shape[1]
        y, place = numpy.empty((n, sum(self._sizes))), 0
        self._run(ctypes.c_void_p(x.ctypes.data), ctypes.c_void_p(y.ctypes.data), ctypes.c_long(n))
        found = []
        for shape, size in zip(self._shapes, self._sizes, strict=True):
            found.append(torch.from_numpy(y[:, place : place + size].reshape((n, *shape))))
            place += size
        return _shaped(self._like, iter(found))


@dataclass(frozen=True, eq=False)
class Draft:
    """A function that is written out and not yet compiled.

    Args:
        function: The function.
        source: Of one row, in C.
        statements: How many there are.
        inputs: Numbers of one row.
        shapes: The shape of each output of one row.
        like: The nesting of the outputs.
    """

    function: Callable[..., Any]
    source: str
    statements: int
    inputs: int
    shapes: tuple[tuple[int, ...], ...]
    like: Any

    @classmethod
    def of(cls, function: Callable[..., Any], example: Sequence[Any]) -> Draft | None:
        """Record a function for the first row of an example and write it out; `None` where that cannot be done.

        Args:
            function: A function of tensors, `(rows, …)` each, row by row.
            example: Its arguments for some rows.
        """
        first = [e[:1] if isinstance(e, Tensor) else [t[:1] for t in e] for e in example]
        made = record(function, first) if compiler() is not None else None
        if made is None:
            return None
        steps, recorder, out = made
        arguments = flat(first)
        outputs = [Name(n) if (n := recorder.number(t)) is not None else t for t in flat([out])]
        try:
            program = Program(arguments, min(LONGEST, WIDE * len(steps)))
            for step in steps:
                program.step(*step)
            lines, shapes = program.finished(outputs)
        except Unwritten:
            return None
        inputs, width = sum(a.numel() for a in arguments), sum(map(prod, shapes))
        body = "\n".join(lines)
        source = (
            f"{HEAD}void run(const double *x, double *y, long n) {{\n"
            f"for (long r = 0; r < n; r++, x += {inputs}, y += {width}) {{\n{body}\n}}\n}}\n"
        )
        return cls(function, source, len(lines), inputs, tuple(s[1:] for s in shapes), out)

    def compiled(self, example: Sequence[Any]) -> Native | None:
        """Machine code that gives what the function gives, beside the example."""
        command = compiler()
        library = None if command is None else _built(command, self.source)
        if library is None:
            return None
        found = Native(library.run, self.inputs, self.shapes, self.like, library)
        moved = [nudged(e) for e in example]
        return found if agree(found(*moved), self.function(*moved)) else None


def _shaped(like: Any, tensors: Iterator[Tensor]) -> Any:
    """Tensors in the nesting of something else."""
    return next(tensors) if isinstance(like, Tensor) else [_shaped(v, tensors) for v in like]


def _built(command: str, source: str) -> Any:
    """The compiled library, or `None` if the compiler fails."""
    with tempfile.TemporaryDirectory() as folder:
        text, library = Path(folder) / "row.c", Path(folder) / "row.so"
        text.write_text(source)
        call = [
            command,
            "-O1",
            "-fno-math-errno",
            "-shared",
            "-fPIC",
            str(text),
            "-o",
            str(library),
            "-lm",
        ]
        try:
            done = subprocess.run(call, capture_output=True, timeout=PATIENCE, check=False)
            if done.returncode:
                return None
            return ctypes.CDLL(str(library))
        except (OSError, subprocess.SubprocessError):
            return None
