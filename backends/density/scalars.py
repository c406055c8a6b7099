"""Tensor operations written out number by number, as statements of C.

Every tensor is an array of names of numbers, or of numbers that are known; what only moves entries about costs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy
import torch
from numpy import ndarray
from torch import Tensor

from .recording import Name

__all__ = ["Program", "Unwritten"]


class Unwritten(Exception):
    """An operation that is not written out, or too many of them."""


#: Functions of one number: the expression, and the same for numbers that are known.
ONE: dict[str, tuple[str, Callable[[float], float]]] = {
    "neg": ("-({0})", lambda a: -a),
    "exp": ("exp({0})", numpy.exp),
    "expm1": ("expm1({0})", numpy.expm1),
    "log": ("log({0})", numpy.log),
    "log2": ("log2({0})", numpy.log2),
    "log1p": ("log1p({0})", numpy.log1p),
    "sqrt": ("sqrt({0})", numpy.sqrt),
    "rsqrt": ("1 / sqrt({0})", lambda a: 1 / numpy.sqrt(a)),
    "sin": ("sin({0})", numpy.sin),
    "cos": ("cos({0})", numpy.cos),
    "tan": ("tan({0})", numpy.tan),
    "tanh": ("tanh({0})", numpy.tanh),
    "sinh": ("sinh({0})", numpy.sinh),
    "cosh": ("cosh({0})", numpy.cosh),
    "atan": ("atan({0})", numpy.arctan),
    "erf": ("erf({0})", math.erf),
    "erfc": ("erfc({0})", math.erfc),
    "abs": ("fabs({0})", abs),
    "floor": ("floor({0})", numpy.floor),
    "ceil": ("ceil({0})", numpy.ceil),
    "reciprocal": ("1 / {0}", lambda a: 1 / a),
    "square": ("{0} * {0}", lambda a: a * a),
    "sigmoid": ("1 / (1 + exp(-({0})))", lambda a: 1 / (1 + numpy.exp(-a))),
    "lgamma": (
        "lgamma({0})",
        lambda a: float(torch.lgamma(torch.tensor(float(a), dtype=torch.float64))),
    ),
    "digamma": (
        "digamma({0})",
        lambda a: float(torch.digamma(torch.tensor(float(a), dtype=torch.float64))),
    ),
    "sign": ("({0} > 0) - ({0} < 0)", numpy.sign),
    "sgn": ("({0} > 0) - ({0} < 0)", numpy.sign),
    "isnan": ("isnan({0}) != 0", lambda a: float(math.isnan(a))),
    "isinf": ("isinf({0}) != 0", lambda a: float(math.isinf(a))),
    "isfinite": ("isfinite({0}) != 0", lambda a: float(math.isfinite(a))),
    "logical_not": ("{0} == 0", lambda a: float(not a)),
    "bitwise_not": ("{0} == 0", lambda a: float(not a)),
    "relu": ("{0} > 0 ? {0} : 0", lambda a: max(a, 0.0)),
}
#: Functions of two numbers.
TWO: dict[str, tuple[str, Callable[[float, float], float]]] = {
    "mul": ("{0} * {1}", lambda a, b: a * b),
    "div": ("{0} / {1}", lambda a, b: a / b),
    "atan2": ("atan2({0}, {1})", math.atan2),
    "maximum": ("isnan({0}) || {0} > {1} ? {0} : {1}", numpy.maximum),
    "minimum": ("isnan({0}) || {0} < {1} ? {0} : {1}", numpy.minimum),
    "ge": ("{0} >= {1}", lambda a, b: float(a >= b)),
    "gt": ("{0} > {1}", lambda a, b: float(a > b)),
    "le": ("{0} <= {1}", lambda a, b: float(a <= b)),
    "lt": ("{0} < {1}", lambda a, b: float(a < b)),
    "eq": ("{0} == {1}", lambda a, b: float(a == b)),
    "ne": ("{0} != {1}", lambda a, b: float(a != b)),
    "logical_and": ("{0} != 0 && {1} != 0", lambda a, b: float(bool(a) and bool(b))),
    "bitwise_and": ("{0} != 0 && {1} != 0", lambda a, b: float(bool(a) and bool(b))),
    "logical_or": ("{0} != 0 || {1} != 0", lambda a, b: float(bool(a) or bool(b))),
    "bitwise_or": ("{0} != 0 || {1} != 0", lambda a, b: float(bool(a) or bool(b))),
    "xlogy": ("{0} == 0 ? 0 : {0} * log({1})", lambda a, b: 0.0 if a == 0 else a * numpy.log(b)),
    # Derivatives, of what came down and the result.
    "sigmoid_backward": ("{0} * {1} * (1 - {1})", lambda g, y: g * y * (1 - y)),
    "tanh_backward": ("{0} * (1 - {1} * {1})", lambda g, y: g * (1 - y * y)),
}
SAME = {"clone", "_to_copy", "detach", "alias", "contiguous", "lift_fresh", "positive", "expand_as"}


class Program:
    """Statements, and where each recorded tensor's numbers are.

    Args:
        arguments: The tensors that the function was recorded for, `(1, …)` each.
        longest: The most statements.
    """

    def __init__(self, arguments: Sequence[Tensor], longest: int):
        self.lines: list[str] = []
        self.longest = longest
        self._known: dict[str, str] = {}
        self._held: dict[int, ndarray] = {}
        place = 0
        for number, tensor in enumerate(arguments):
            names = numpy.array([f"x[{place + i}]" for i in range(tensor.numel())], dtype=object)
            self._held[number] = names.reshape(tuple(tensor.shape))
            place += tensor.numel()

    def step(self, func: Any, args: tuple, kwargs: dict, result: Any) -> None:
        """Write one operation out.

        Raises:
            Unwritten: If it is none of those that can be.
        """
        name = func._schema.name.split("::")[1]
        values = [self._value(a) for a in args]
        named = {k: self._value(v) for k, v in kwargs.items() if v is not None}
        with numpy.errstate(all="ignore"):
            try:
                found = self._done(name, values, named)
            except (TypeError, ValueError, IndexError, KeyError) as error:
                raise Unwritten(f"{func}: {error}") from error
        if isinstance(result, list):
            for number, one in zip(result, found, strict=True):
                if number is not None:
                    self._held[number] = one
        else:
            self._held[result] = numpy.asarray(found, dtype=object)

    def finished(self, outputs: Sequence[Any]) -> tuple[list[str], list[tuple[int, ...]]]:
        """All statements, the outputs written last, and the outputs' shapes."""
        lines, shapes, place = list(self.lines), [], 0
        for output in outputs:
            value = numpy.asarray(self._value(output), dtype=object)
            shapes.append(value.shape)
            for entry in value.reshape(-1):
                lines.append(f"y[{place}] = {_text(entry)};")
                place += 1
        return lines, shapes

    # -- values ----------------------------------------------------------------------------------

    def _value(self, value: Any) -> Any:
        if isinstance(value, Name):
            return self._held[value.number]
        if isinstance(value, Tensor):
            plain = value.detach()
            if plain.dtype == torch.bool:
                plain = plain.to(torch.float64)
            return plain.numpy().astype(object)
        if isinstance(value, list | tuple):
            return [self._value(v) for v in value]
        return value

    def _emit(self, expression: str) -> str:
        if expression not in self._known:
            if len(self.lines) >= self.longest:
                raise Unwritten("too long")
            name = f"t{len(self.lines)}"
            self.lines.append(f"double {name} = {expression};")
            self._known[expression] = name
        return self._known[expression]

    def _apply(self, expression: str, known: Callable, *arrays: Any) -> ndarray:
        """One expression for every entry, worked out now where all it needs is known."""

        def entry(*parts: Any) -> Any:
            if not any(isinstance(p, str) for p in parts):
                return float(known(*map(float, parts)))
            return self._emit(expression.format(*map(_text, parts)))

        made = numpy.frompyfunc(entry, len(arrays), 1)
        return numpy.asarray(made(*[numpy.asarray(a, dtype=object) for a in arrays]), dtype=object)

    def _add(self, a: Any, b: Any, sign: str = "+") -> Any:
        def entry(p: Any, q: Any) -> Any:
            if not isinstance(q, str) and float(q) == 0:
                return p
            if not isinstance(p, str) and float(p) == 0 and sign == "+":
                return q
            if not isinstance(p, str) and not isinstance(q, str):
                return float(p) + float(q) if sign == "+" else float(p) - float(q)
            return self._emit(f"{_text(p)} {sign} {_text(q)}")

        return numpy.asarray(
            numpy.frompyfunc(entry, 2, 1)(
                numpy.asarray(a, dtype=object), numpy.asarray(b, dtype=object)
            ),
            dtype=object,
        )

    def _product(self, a: Any, b: Any) -> Any:
        def entry(p: Any, q: Any) -> Any:
            for one, other in ((p, q), (q, p)):
                if not isinstance(one, str) and float(one) == 1:
                    return other
            return self._apply("{0} * {1}", lambda x, y: x * y, p, q).item()

        return numpy.asarray(
            numpy.frompyfunc(entry, 2, 1)(
                numpy.asarray(a, dtype=object), numpy.asarray(b, dtype=object)
            ),
            dtype=object,
        )

    def _folded(self, value: ndarray, axes: tuple[int, ...], keep: bool, fold: Callable) -> ndarray:
        """Some axes folded into one entry each."""
        axes = tuple(a % max(value.ndim, 1) for a in axes) if value.ndim else ()
        rest = [a for a in range(value.ndim) if a not in axes]
        turned = value.transpose(*rest, *axes) if value.ndim else value
        shape = tuple(value.shape[a] for a in rest)
        rows = turned.reshape((math.prod(shape), -1))
        out = numpy.empty(len(rows), dtype=object)
        for i, row in enumerate(rows):
            out[i] = fold(list(row))
        found = out.reshape(shape)
        if keep:
            found = found.reshape([1 if a in axes else n for a, n in enumerate(value.shape)])
        return found

    def _total(self, row: Sequence[Any]) -> Any:
        plain = sum(float(e) for e in row if not isinstance(e, str))
        names = [e for e in row if isinstance(e, str)]
        if not names:
            return plain
        parts = ([_text(plain)] if plain != 0 else []) + names
        while len(parts) > 1:
            parts = [
                self._emit(" + ".join(parts[i : i + 64]))
                if len(parts[i : i + 64]) > 1
                else parts[i]
                for i in range(0, len(parts), 64)
            ]
        return parts[0]

    def _chained(self, expression: str, known: Callable) -> Callable:
        def fold(row: Sequence[Any]) -> Any:
            found = row[0]
            for e in row[1:]:
                found = self._apply(expression, known, found, e).item()
            return found

        return fold

    # -- operations ------------------------------------------------------------------------------

    def _done(self, name: str, a: list, k: dict) -> Any:
        if name in SAME:
            return a[0]
        if name in ONE:
            return self._apply(*ONE[name], a[0])
        if name == "mul":
            return self._product(a[0], a[1])
        if name in TWO and not k.get("rounding_mode"):
            return self._apply(*TWO[name], a[0], a[1])
        method = getattr(self, f"_op_{name}", None)
        if method is None:
            raise Unwritten(name)
        return method(*a, **k)

    def _op_add(self, a, b, alpha=1):
        return self._add(a, b if alpha == 1 else self._product(b, alpha))

    def _op_sub(self, a, b, alpha=1):
        return self._add(a, b if alpha == 1 else self._product(b, alpha), "-")

    def _op_rsub(self, a, b, alpha=1):
        return self._op_sub(b, a, alpha)

    def _op_pow(self, a, b):
        if isinstance(b, int | float):
            if b == 1:
                return a
            if b == 2:
                return self._product(a, a)
            if b == 3:
                return self._product(self._product(a, a), a)
            if b in (0.5, -1):
                return self._apply(*ONE["sqrt" if b == 0.5 else "reciprocal"], a)
        return self._apply("pow({0}, {1})", lambda x, y: numpy.float64(x) ** y, a, b)

    def _op_where(self, c, a, b):
        def entry(p: Any, q: Any, r: Any) -> Any:
            if not isinstance(p, str):
                return q if float(p) else r
            return self._emit(f"{p} != 0 ? {_text(q)} : {_text(r)}")

        made = numpy.frompyfunc(entry, 3, 1)(*[numpy.asarray(v, dtype=object) for v in (c, a, b)])
        return numpy.asarray(made, dtype=object)

    def _op_masked_fill(self, a, mask, value):
        return self._op_where(mask, value, a)

    def _op_clamp(self, a, min=None, max=None):
        if min is not None:
            a = self._apply("{0} < {1} ? {1} : {0}", lambda x, y: y if x < y else x, a, min)
        if max is not None:
            a = self._apply("{0} > {1} ? {1} : {0}", lambda x, y: y if x > y else x, a, max)
        return a

    def _op_clamp_min(self, a, low):
        return self._op_clamp(a, low)

    def _op_clamp_max(self, a, high):
        return self._op_clamp(a, None, high)

    def _op_threshold_backward(self, g, a, threshold):
        return self._op_where(self._apply(*TWO["gt"], a, float(threshold)), g, 0.0)

    def _op_lerp(self, a, b, w):
        return self._add(a, self._product(w, self._add(b, a, "-")))

    def _op_softplus(self, a, beta=1, threshold=20):
        if beta != 1:
            raise Unwritten("softplus")
        return self._apply(
            f"{{0}} > {threshold} ? {{0}} : log1p(exp({{0}}))", lambda x: numpy.logaddexp(0, x), a
        )

    def _op_softplus_backward(self, g, a, beta=1, threshold=20):
        if beta != 1:
            raise Unwritten("softplus")
        return self._product(g, self._apply(*ONE["sigmoid"], a))

    def _op_log_sigmoid_forward(self, a):
        text = "{0} < 0 ? {0} - log1p(exp({0})) : -log1p(exp(-({0})))"
        return [
            self._apply(text, lambda x: -numpy.logaddexp(0, -x), a),
            numpy.zeros(0, dtype=object),
        ]

    def _op_log_sigmoid_backward(self, g, a, buffer):
        return self._apply("{0} / (1 + exp({1}))", lambda x, y: x / (1 + numpy.exp(y)), g, a)

    def _op_polygamma(self, n, a):
        if n != 1:
            raise Unwritten("polygamma")
        return self._apply("trigamma({0})", lambda x: float(torch.polygamma(1, torch.tensor(x))), a)

    def _op_sum(self, a, dims=None, keepdim=False, dtype=None):
        axes = tuple(dims) if dims else tuple(range(a.ndim))
        return self._folded(a, axes, keepdim, self._total)

    def _op_mean(self, a, dims=None, keepdim=False, dtype=None):
        axes = tuple(dims) if dims else tuple(range(a.ndim))
        count = math.prod(a.shape[x] for x in axes)
        return self._product(self._op_sum(a, axes, keepdim), 1 / count)

    def _op_prod(self, a, dim=None, keepdim=False, dtype=None):
        axes = tuple(range(a.ndim)) if dim is None else (dim,)
        return self._folded(a, axes, keepdim, self._chained(*TWO["mul"]))

    def _op_amax(self, a, dims=(), keepdim=False):
        return self._folded(
            a, tuple(dims) or tuple(range(a.ndim)), keepdim, self._chained(*TWO["maximum"])
        )

    def _op_amin(self, a, dims=(), keepdim=False):
        return self._folded(
            a, tuple(dims) or tuple(range(a.ndim)), keepdim, self._chained(*TWO["minimum"])
        )

    def _op_any(self, a, dim=None, keepdim=False):
        axes = tuple(range(a.ndim)) if dim is None else (dim,)
        return self._folded(a, axes, keepdim, self._chained(*TWO["logical_or"]))

    def _op_all(self, a, dim=None, keepdim=False):
        axes = tuple(range(a.ndim)) if dim is None else (dim,)
        return self._folded(a, axes, keepdim, self._chained(*TWO["logical_and"]))

    def _op_logsumexp(self, a, dims, keepdim=False):
        axes = tuple(dims) if isinstance(dims, list | tuple) else (dims,)
        top = self._op_amax(a, axes, True)
        top = self._op_where(self._apply(*ONE["isfinite"], top), top, 0.0)
        total = self._op_sum(self._apply(*ONE["exp"], self._add(a, top, "-")), axes, True)
        found = self._add(self._apply(*ONE["log"], total), top)
        return (
            found
            if keepdim
            else found.reshape(
                [n for i, n in enumerate(a.shape) if i not in {x % a.ndim for x in axes}]
            )
        )

    def _op__softmax(self, a, dim, half):
        e = self._apply(*ONE["exp"], self._add(a, self._op_amax(a, (dim,), True), "-"))
        return self._apply(*TWO["div"], e, self._op_sum(e, (dim,), True))

    def _op__softmax_backward_data(self, g, y, dim, dtype=None):
        inner = self._op_sum(self._product(g, y), (dim,), True)
        return self._product(y, self._add(g, inner, "-"))

    def _op__log_softmax(self, a, dim, half):
        return self._add(a, self._op_logsumexp(a, (dim,), True), "-")

    def _op__log_softmax_backward_data(self, g, y, dim, dtype=None):
        inner = self._op_sum(g, (dim,), True)
        return self._add(g, self._product(self._apply(*ONE["exp"], y), inner), "-")

    def _op_cumsum(self, a, dim, dtype=None):
        return self._running(a, dim, self._add)

    def _op_cumprod(self, a, dim, dtype=None):
        return self._running(a, dim, self._product)

    def _running(self, a: ndarray, dim: int, fold: Callable) -> ndarray:
        found = a.copy()
        moved = numpy.moveaxis(found, dim, 0)
        for i in range(1, len(moved)):
            moved[i] = fold(moved[i - 1], moved[i])
        return found

    def _op_mm(self, a, b):
        out = numpy.empty((a.shape[0], b.shape[1]), dtype=object)
        for i, j in product(range(a.shape[0]), range(b.shape[1])):
            out[i, j] = self._total(list(self._product(a[i], b[:, j])))
        return out

    def _op_bmm(self, a, b):
        return numpy.stack([self._op_mm(x, y) for x, y in zip(a, b, strict=True)])

    def _op_mv(self, a, b):
        return self._op_mm(a, b[:, None])[:, 0]

    def _op_dot(self, a, b):
        return self._total(list(self._product(a, b)))

    def _op_addmm(self, c, a, b, beta=1, alpha=1):
        return self._add(self._product(c, beta), self._product(self._op_mm(a, b), alpha))

    # Operations that move entries about.

    def _op_view(self, a, shape):
        return a.reshape([int(n) for n in shape])

    _op_reshape = _op__unsafe_view = _op_view

    def _op_expand(self, a, shape, implicit=False):
        lead = len(shape) - a.ndim
        whole = [a.shape[i - lead] if n == -1 else n for i, n in enumerate(shape)]
        return numpy.broadcast_to(a, whole)

    def _op_permute(self, a, dims):
        return a.transpose(dims)

    def _op_transpose(self, a, i, j):
        return a.swapaxes(i, j)

    def _op_t(self, a):
        return a.T

    def _op_unsqueeze(self, a, dim):
        return numpy.expand_dims(a, dim)

    def _op_squeeze(self, a, dim=None):
        dims = range(a.ndim) if dim is None else dim if isinstance(dim, list) else [dim]
        gone = {d % max(a.ndim, 1) for d in dims if a.ndim and a.shape[d] == 1}
        return a.reshape([n for i, n in enumerate(a.shape) if i not in gone])

    def _op_select(self, a, dim, index):
        return a.take(index, axis=dim)

    def _op_slice(self, a, dim=0, start=None, end=None, step=1):
        at = [slice(None)] * a.ndim
        at[dim] = slice(start, end, step)
        return a[tuple(at)]

    def _op_select_backward(self, g, shape, dim, index):
        out = numpy.full(shape, 0.0, dtype=object)
        numpy.moveaxis(out, dim, 0)[index] = g if g.ndim else g.item()
        return out

    def _op_slice_backward(self, g, shape, dim, start, end, step):
        out = numpy.full(shape, 0.0, dtype=object)
        at = [slice(None)] * len(shape)
        at[dim] = slice(start, end, step)
        out[tuple(at)] = g
        return out

    def _op_cat(self, parts, dim=0):
        kept = [p for p in parts if p.ndim > 1 or p.size]
        return numpy.concatenate(kept, axis=dim)

    def _op_stack(self, parts, dim=0):
        return numpy.stack(parts, axis=dim)

    def _op_unbind(self, a, dim=0):
        return list(numpy.moveaxis(a, dim, 0))

    def _op_split(self, a, size, dim=0):
        return numpy.split(a, range(size, a.shape[dim], size), axis=dim)

    def _op_split_with_sizes(self, a, sizes, dim=0):
        return numpy.split(a, numpy.cumsum(sizes)[:-1], axis=dim)

    def _op_constant_pad_nd(self, a, pad, value=0.0):
        widths = [(0, 0)] * a.ndim
        for i in range(len(pad) // 2):
            widths[-1 - i] = pad[2 * i], pad[2 * i + 1]
        cut = tuple(
            slice(max(-low, 0), n - max(-high, 0))
            for n, (low, high) in zip(a.shape, widths, strict=True)
        )
        grown = [(max(low, 0), max(high, 0)) for low, high in widths]
        return numpy.pad(a[cut], grown, constant_values=float(value))

    def _op_flip(self, a, dims):
        return numpy.flip(a, dims)

    def _op_movedim(self, a, source, target):
        return numpy.moveaxis(a, source, target)

    def _op_copy(self, a, b, blocking=False):
        return numpy.broadcast_to(b, a.shape)

    def _op_fill(self, a, value):
        return numpy.broadcast_to(numpy.asarray(value, dtype=object), a.shape)

    def _op_zero(self, a):
        return numpy.full(a.shape, 0.0, dtype=object)

    def _op_diagonal(self, a, offset=0, i=0, j=1):
        return numpy.diagonal(a, offset, i, j)

    def _op_tril(self, a, k=0):
        return self._op_where(numpy.tril(numpy.ones(a.shape), k).astype(object), a, 0.0)

    def _op_triu(self, a, k=0):
        return self._op_where(numpy.triu(numpy.ones(a.shape), k).astype(object), a, 0.0)

    def _op_index(self, a, indices):
        return a[tuple(slice(None) if i is None else _places(i) for i in indices)]

    def _op_index_put(self, a, indices, values, accumulate=False):
        out = a.copy()
        whole = numpy.arange(a.size).reshape(a.shape)
        at = whole[tuple(slice(None) if i is None else _places(i) for i in indices)]
        flat = out.reshape(-1)
        for place, value in zip(
            at.reshape(-1), numpy.broadcast_to(values, at.shape).reshape(-1), strict=True
        ):
            flat[place] = self._add(flat[place], value).item() if accumulate else value
        return flat.reshape(a.shape)

    _op__unsafe_index_put = _op__index_put_impl = _op_index_put

    def _op_index_select(self, a, dim, index):
        return a.take(_places(index), axis=dim)

    def _op_gather(self, a, dim, index, sparse_grad=False):
        return numpy.take_along_axis(a, _places(index), axis=dim)

    def _op_scatter_add(self, a, dim, index, values):
        out, dim = a.copy(), dim % max(a.ndim, 1)
        for at in product(*map(range, index.shape)):
            place = (*at[:dim], int(index[at]), *at[dim + 1 :])
            out[place] = self._add(out[place], values[at]).item()
        return out

    def _op_index_add(self, a, dim, index, values, alpha=1):
        out = a.copy()
        moved, parts = numpy.moveaxis(out, dim, 0), numpy.moveaxis(values, dim, 0)
        for i, place in enumerate(_places(index)):
            moved[place] = self._add(moved[place], parts[i])
        return out


def _places(index: ndarray) -> ndarray:
    if any(isinstance(i, str) for i in index.reshape(-1)):
        raise Unwritten("a place that depends on what is unknown")
    return index.astype(int)


def _text(value: Any) -> str:
    """A number as C reads it."""
    if isinstance(value, str):
        return value
    number = float(value)
    if math.isnan(number):
        return "NAN"
    if math.isinf(number):
        return "INFINITY" if number > 0 else "(-INFINITY)"
    return repr(number) if number >= 0 else f"({number!r})"
