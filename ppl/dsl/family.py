"""A factory makes a family of models; its arguments are the hyper-parameters."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ..errors import ModelError
from ..graph.closure import place
from .model import Model

__all__ = ["is_factory", "model"]

MARK = "__galton_factory__"


def model(factory: Callable[..., Any]) -> Callable[..., Model]:
    """Decorate a function that declares nodes on the model it is handed.

    Args:
        factory: Takes the model first, then hyper-parameters. What it returns is ignored, unless it is a model.

    Returns:
        A function of the hyper-parameters that gives a fresh model, named after the factory.

    Example:
        >>> import ppl
        >>> from ppl.distributions import Bernoulli
        >>> @ppl.model
        ... def coins(model, n=3):
        ...     coin = model.plate("coin", n)
        ...     @model.observed(plate=coin)
        ...     def heads(): return Bernoulli(0.5)
        >>> coins(n=5).graph.plates["coin"].size
        5
    """

    @functools.wraps(factory)
    def make(*arguments: Any, **hyper: Any) -> Model:
        made = Model(factory.__name__)
        returned = factory(made, *arguments, **hyper)
        if returned is not None and not isinstance(returned, Model):
            raise ModelError(
                f"The factory '{factory.__name__}' ({place(factory)}) returned {returned!r}; return nothing."
            )
        result = made if returned is None else returned
        if not len(result.graph):
            raise ModelError(
                f"The factory '{factory.__name__}' ({place(factory)}) declared no node."
            )
        return result

    vars(make)[MARK] = True
    return make


def is_factory(thing: Any) -> bool:
    """Whether something was decorated with `model`."""
    return callable(thing) and MARK in getattr(thing, "__dict__", {})
