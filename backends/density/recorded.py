"""A function of tensors as the list of operations that it did: run without whatever Python decided on the way.

A body's calls, the distributions that it builds, autograd's walk backwards: all of it leaves only tensor operations. They are the same for every
batch of one length, so running the list gives what the function gives, at a fraction of the time. Only operations on what depends on the arguments
are kept; the rest are constants.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ppl.distributions.tracing import recording

__all__ = ["Recorded"]

#: The largest difference between what was recorded and the function itself, relative to the size of the answer.
TOLERANCE = 1e-8
ATEN = torch.ops.aten
#: Operations that give back what they got.
IDLE = {ATEN.detach.default, ATEN.alias.default, ATEN.lift_fresh.default}
#: Operations that do nothing where the shape stays.
VIEWS = {
    ATEN.view.default,
    ATEN._unsafe_view.default,
    ATEN.expand.default,
    ATEN.reshape.default,
}
#: Operations whose result depends on shapes alone.
SHAPED = {
    ATEN.ones_like.default,
    ATEN.zeros_like.default,
    ATEN.full_like.default,
    ATEN.empty_like.default,
    ATEN.new_zeros.default,
    ATEN.new_ones.default,
    ATEN.new_full.default,
    ATEN.new_empty.default,
}


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


class Undecided(Exception):
    """The function looks at a number that depends on its arguments."""


class Name:
    """Stands for a recorded tensor among the arguments of an operation."""

    def __init__(self, number: int):
        self.number = number


class Recorder(TorchDispatchMode):
    """Notes every operation on a tensor that depends on the arguments."""

    def __init__(self, arguments: Sequence[Tensor]):
        super().__init__()
        self.steps: list[tuple[Any, tuple, dict, Any]] = []
        self._numbers: dict[int, int] = {}
        self._held: list[Tensor] = []  # so that no address is used twice
        self.constants: list[Any] = []
        for a in arguments:
            self._new(a)

    def _new(self, tensor: Tensor) -> int:
        self._held.append(tensor)
        self._numbers[id(tensor)] = len(self._held) - 1
        return len(self._held) - 1

    def number(self, tensor: Any) -> int | None:
        """The number of a recorded tensor."""
        return self._numbers.get(id(tensor)) if isinstance(tensor, Tensor) else None

    def _named(self, value: Any) -> tuple[Any, bool]:
        """A value with names in place of recorded tensors, and whether there were any."""
        if isinstance(value, Tensor):
            number = self.number(value)
            return (Name(number), True) if number is not None else (value, False)
        if isinstance(value, list | tuple):
            parts = [self._named(v) for v in value]
            return type(value)(v for v, _ in parts), any(known for _, known in parts)
        return value, False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        named, known = self._named(tuple(args))
        pairs = {k: self._named(v) for k, v in kwargs.items()}
        if not known and not any(k for _, k in pairs.values()):
            return func(*args, **kwargs)
        if torch.Tag.data_dependent_output in func.tags or (
            torch.Tag.dynamic_output_shape in func.tags and not self._by_number(func, args)
        ):
            raise Undecided(str(func))
        if func in SHAPED:
            # What only the shape decides is a constant.
            return func(*args, **kwargs)
        pairs = {k: v for k, (v, _) in pairs.items()}
        if func._schema.is_mutable:
            return self._written(func, args, kwargs, named, pairs)
        out = func(*args, **kwargs)
        if func in IDLE or (func in VIEWS and out.shape == args[0].shape):
            self._numbers[id(out)] = self._numbers[id(args[0])]
            self._held.append(out)
        else:
            self.steps.append((func, named, pairs, self._numbered(out)))
        return out

    def _written(self, func: Any, args: tuple, kwargs: dict, named: tuple, pairs: dict) -> Any:
        """An operation that writes into its first argument, recorded as one that makes a new tensor."""
        name, overload = func._schema.name.split("::")[1], func._overloadname
        packet = getattr(ATEN, name.rstrip("_"), None)
        if not name.endswith("_") or packet is None or overload not in packet.overloads():
            raise Undecided(str(func))
        if self.number(args[0]) is None:
            named = (args[0].clone(), *named[1:])
        out = func(*args, **kwargs)
        self.steps.append((getattr(packet, overload), named, pairs, self._new(args[0])))
        if out is not args[0]:
            self._numbers[id(out)] = self._numbers[id(args[0])]
            self._held.append(out)
        return out

    def _by_number(self, func: Any, args: tuple) -> bool:
        """Whether this looks entries up at places that no mask of recorded numbers decides."""
        if func is not ATEN.index.Tensor:
            return False
        return all(
            i is None or i.dtype is not torch.bool or self.number(i) is None for i in args[1]
        )

    def _numbered(self, out: Any) -> Any:
        if isinstance(out, Tensor):
            return self._new(out)
        if isinstance(out, list | tuple):
            return [self._numbered(o) for o in out]
        return None


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
            return self._run(*_flat(arguments))

    @classmethod
    def of(cls, function: Callable[..., Any], example: Sequence[Any]) -> Recorded | None:
        """Record a function at an example; `None` where it looks at numbers to decide what to do, or the list gives another answer."""
        flat = _flat(example)
        recorder = Recorder(flat)
        try:
            with recording(), recorder:
                out = function(*example)
        except Undecided:
            return None
        except (RuntimeError, TypeError, ValueError, NotImplementedError):
            # What a body or a density raises when it is recorded, a plain call need not raise.
            return None
        found = _compiled(recorder, len(flat), out)
        moved = [_moved(e) for e in example]
        return found if _same(found(*moved), function(*moved)) else None


def _compiled(recorder: Recorder, arguments: int, out: Any) -> Recorded:
    """The recorded steps as one Python function, without those that nothing needs and those that were done before."""
    steps = _needed(_once(recorder.steps), [n for n in _numbers(recorder, out) if n is not None])
    last: dict[int, int] = {}
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
    del last

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


def _once(steps: list) -> list:
    """Without steps that repeat an earlier one."""
    same: dict[int, int] = {}
    seen: dict[tuple, Any] = {}
    kept = []

    def renamed(value: Any) -> Any:
        if isinstance(value, Name):
            return Name(same.get(value.number, value.number))
        if isinstance(value, list | tuple):
            return type(value)(renamed(v) for v in value)
        return value

    def key(value: Any) -> Any:
        if isinstance(value, Name):
            return ("name", value.number)
        if isinstance(value, list | tuple):
            return tuple(key(v) for v in value)
        return id(value) if isinstance(value, Tensor) else (type(value), value)

    for func, args, kwargs, result in steps:
        args, kwargs = renamed(args), {k: renamed(v) for k, v in kwargs.items()}
        name = (func, key(args), tuple((k, key(v)) for k, v in kwargs.items()))
        if (
            isinstance(result, int)
            and name in seen
            and torch.Tag.nondeterministic_seeded not in func.tags
        ):
            same[result] = seen[name]
            continue
        if isinstance(result, int):
            seen[name] = result
        kept.append((func, args, kwargs, result))
    # Answers may be repeats too.
    for result, first in same.items():
        kept.append((ATEN.alias.default, (Name(first),), {}, result))
    return kept


def _needed(steps: list, wanted: list[int]) -> list:
    """Without steps whose results nothing uses."""
    used, kept = set(wanted), []

    def visit(value: Any) -> None:
        if isinstance(value, Name):
            used.add(value.number)
        elif isinstance(value, list | tuple):
            for v in value:
                visit(v)

    for step in reversed(steps):
        results = step[3] if isinstance(step[3], list) else [step[3]]
        if used & {r for r in results if isinstance(r, int)}:
            visit(step[1])
            visit(list(step[2].values()))
            kept.append(step)
    return kept[::-1]


def _numbers(recorder: Recorder, out: Any) -> list[int | None]:
    if isinstance(out, Tensor):
        return [recorder.number(out)]
    return [n for o in out for n in _numbers(recorder, o)]


def _flat(values: Sequence[Any]) -> list[Tensor]:
    return [t for v in values for t in ([v] if isinstance(v, Tensor) else v)]


def _moved(value: Any) -> Any:
    """Another example of the same shape."""
    if isinstance(value, Tensor):
        wave = torch.linspace(0.1, 0.7, max(value.numel(), 1), dtype=value.dtype)
        return value * 0.9 + 0.05 * wave[: value.numel()].reshape(value.shape)
    return [_moved(v) for v in value]


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        there = other[torch.isfinite(other)]
        scale = float(there.abs().max()) if len(there) else 1.0
        close = torch.isclose(one, other, rtol=TOLERANCE, atol=TOLERANCE * scale, equal_nan=True)
        return one.shape == other.shape and bool(close.all())
    return len(one) == len(other) and all(_same(a, b) for a, b in zip(one, other, strict=True))
