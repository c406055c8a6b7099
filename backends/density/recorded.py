"""A recorded function of tensors, run again by torch at a fraction of the time: without whatever Python decided on the way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from .recording import Name, Recorder, flat, record

__all__ = ["Recorded", "agree", "nudged"]

#: The largest difference between what was recorded and the function itself, relative to the size of the answer.
TOLERANCE = 1e-8
#: Answers smaller than this everywhere are held against this.
LEAST = 1e-3
#: Operations that `torch` and `Tensor` offer with the same arguments in the same order, at a fraction of the cost of a call.
PLAIN = frozenset(
    [
        "abs",
        "add",
        "atan",
        "atan2",
        "ceil",
        "clamp",
        "clamp_max",
        "clamp_min",
        "cos",
        "cosh",
        "digamma",
        "div",
        "erf",
        "erfc",
        "exp",
        "expm1",
        "eq",
        "floor",
        "ge",
        "gt",
        "isfinite",
        "isinf",
        "isnan",
        "le",
        "lgamma",
        "log",
        "log1p",
        "log2",
        "logical_and",
        "logical_not",
        "logit",
        "lt",
        "masked_fill",
        "maximum",
        "minimum",
        "mul",
        "ne",
        "neg",
        "pow",
        "reciprocal",
        "relu",
        "rsqrt",
        "rsub",
        "sigmoid",
        "sign",
        "sin",
        "sinh",
        "softplus",
        "sqrt",
        "sub",
        "tan",
        "tanh",
        "where",
        "bmm",
        "mm",
        "mv",
        "addmm",
        "logsumexp",
        "cumsum",
        "index_select",
        "gather",
        "squeeze",
        "unsqueeze",
        "transpose",
        "t",
        "permute",
        "select",
        "cat",
        "stack",
        "flip",
        "amax",
        "amin",
        "any",
        "all",
        "prod",
        "bitwise_and",
        "bitwise_or",
        "bitwise_not",
        "log_sigmoid",
        "xlogy",
        "square",
        "sgn",
        "polygamma",
        "lerp",
        "addcmul",
        "addcdiv",
        "remainder",
        "triu",
        "tril",
        "diagonal",
        "movedim",
        "trunc",
        "round",
        "outer",
        "dot",
        "matmul",
        "softmax",
        "log_softmax",
        "argmax",
    ]
)
TENSOR = frozenset(["view", "expand", "sum", "mean", "clone"])


class Recorded:
    """The operations of one function, for tensors of fixed shapes.

    Args:
        run: A function of the arguments, flattened.
        steps: How many operations it does.
    """

    def __init__(self, run: Callable[..., Any], steps: int):
        self._run, self.steps = run, steps

    def __call__(self, *arguments: Any) -> Any:
        with torch.no_grad():
            return self._run(*flat(arguments))

    @classmethod
    def of(cls, function: Callable[..., Any], example: Sequence[Any]) -> Recorded | None:
        """Record a function at an example; `None` where it looks at numbers to decide what to do, or the list gives another answer."""
        made = record(function, example)
        if made is None:
            return None
        found = _compiled(*made, len(flat(example)))
        moved = [nudged(e) for e in example]
        return found if agree(found(*moved), function(*moved)) else None


def _compiled(steps: list, recorder: Recorder, out: Any, arguments: int) -> Recorded:
    """The recorded steps as one Python function."""
    space: dict[str, Any] = {}
    lines = []
    written: dict[int, str] = {}

    def text(value: Any) -> str:
        if isinstance(value, Name):
            return f"t{value.number}"
        if isinstance(value, list | tuple):
            inner = ", ".join(text(v) for v in value)
            return f"[{inner}]" if isinstance(value, list) else f"({inner},)"
        if value is None or isinstance(value, bool | int):
            return repr(value)
        if id(value) not in written:
            written[id(value)] = f"c{len(space)}"
            space[written[id(value)]] = value
        return written[id(value)]

    def target(value: Any) -> str:
        if isinstance(value, list):
            return "(" + ", ".join(target(v) for v in value) + ",)"
        return "_" if value is None else f"t{value}"

    for func, args, kwargs, result in steps:
        inner = [text(a) for a in args] + [f"{k}={text(v)}" for k, v in kwargs.items()]
        name = written.setdefault(id(func), f"f{len(written)}")
        space[name] = _quick(func)
        lines.append(f"    {target(result)} = {name}({', '.join(inner)})")

    def answer(value: Any) -> str:
        if isinstance(value, Tensor):
            number = recorder.number(value)
            return text(Name(number)) if number is not None else text(value.detach())
        return "[" + ", ".join(answer(v) for v in value) + "]"

    head = ", ".join(f"t{i}" for i in range(arguments))
    source = "\n".join([f"def run({head}):", *lines, f"    return {answer(out)}"])
    exec(compile(source, "<recorded>", "exec"), space)  # our own text: names of operations only
    return Recorded(space["run"], len(lines))


def _quick(func: Any) -> Callable[..., Any]:
    """The same operation by a shorter way through the dispatcher, where there is one."""
    name = func._schema.name.split("::")[1]
    if name in TENSOR:
        return getattr(Tensor, name)
    return getattr(torch, name, func._op) if name in PLAIN else func._op


def nudged(value: Any) -> Any:
    """Another example of the same shape."""
    if isinstance(value, Tensor):
        wave = torch.linspace(0.1, 0.7, max(value.numel(), 1), dtype=value.dtype)
        return value * 0.9 + 0.05 * wave[: value.numel()].reshape(value.shape)
    return [nudged(v) for v in value]


def agree(one: Any, other: Any) -> bool:
    """Whether two answers are equal but for rounding; rows that all are alike may be given once."""
    if isinstance(one, Tensor):
        other = other.expand(one.shape)
        there = other[torch.isfinite(other)]
        scale = max(float(there.abs().max()), LEAST) if len(there) else 1.0
        close = torch.isclose(one, other, rtol=TOLERANCE, atol=TOLERANCE * scale, equal_nan=True)
        return bool(close.all())
    return len(one) == len(other) and all(agree(a, b) for a, b in zip(one, other, strict=True))
