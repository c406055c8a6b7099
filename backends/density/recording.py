"""Recording what a function of tensors does: the operations on whatever depends on its arguments.

A body's calls, the distributions that it builds, autograd's walk backwards: all of it leaves only tensor operations. They are the same for every
batch of one length, so that whoever runs them again, by torch or as machine code, gets what the function gives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ppl.distributions.tracing import recording

__all__ = ["ATEN", "Name", "Recorder", "flat", "record"]

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


def record(
    function: Callable[..., Any], example: Sequence[Any]
) -> tuple[list, Recorder, Any] | None:
    """The operations that a function does for an example, those that repeat one or serve nothing left out; the recorder; what the function gave.

    `None` where it looks at numbers to decide what to do.
    """
    recorder = Recorder(flat(example))
    try:
        with recording(), recorder:
            out = function(*example)
    except Undecided:
        return None
    except (RuntimeError, TypeError, ValueError, NotImplementedError):
        # What a body or a density raises when it is recorded, a plain call need not raise.
        return None
    wanted = [n for n in _numbers(recorder, out) if n is not None]
    return _needed(_once(recorder.steps), wanted), recorder, out


def flat(values: Sequence[Any]) -> list[Tensor]:
    """All tensors of nested sequences, in order."""
    return [t for v in values for t in ([v] if isinstance(v, Tensor) else flat(v))]


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
