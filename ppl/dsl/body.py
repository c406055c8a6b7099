"""From a function to a body: what its signature says.

Required arguments are parents, defaults are constants, `rng` and `previous` are reserved.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import ModelError, closest
from ..graph import Body, Parent, Previous
from ..graph.closure import place, remember

__all__ = ["read_body"]


def read_body(
    function: Callable[..., Any],
    owner: str,
    resolve: Callable[[str, str], Parent],
    parents: Mapping[str, str | Previous] | None = None,
    vectorized: bool = False,
) -> Body:
    """The body that a function is.

    Args:
        function: The user's function.
        owner: The node that it belongs to: what `previous` refers to.
        resolve: Turns an argument and the name it means into an edge, or raises.
        parents: Spelled-out edges, argument to node (or `previous(node)`).
        vectorized: Whether the function promises to take whole batches.

    Raises:
        ModelError: For `*args`, for a spelled-out argument that the function does not have, or from `resolve`.
    """
    where = place(function)
    spelled = dict(parents or {})
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError) as error:
        raise ModelError(f"'{owner}' ({where}): its signature cannot be read: {error}.") from error
    edges, rng = [], False
    for argument in signature.parameters.values():
        if argument.kind in (argument.VAR_POSITIONAL, argument.VAR_KEYWORD):
            raise ModelError(
                f"'{owner}' ({where}) takes '*{argument.name}': name the parents one by one, so that the graph can be "
                "read."
            )
        if argument.kind is argument.POSITIONAL_ONLY:
            raise ModelError(
                f"'{owner}' ({where}): '{argument.name}' is positional-only; drop the '/'."
            )
        meant = spelled.pop(argument.name, None)
        if meant is None and argument.default is not argument.empty:
            continue
        if meant is None and argument.name == "rng":
            rng = True
        elif meant is None and argument.name == "previous":
            edges.append(Parent("previous", owner, "previous"))
        elif isinstance(meant, Previous):
            edges.append(Parent(argument.name, meant.node, "previous"))
        else:
            edges.append(resolve(argument.name, argument.name if meant is None else str(meant)))
    if spelled:
        name = next(iter(spelled))
        raise ModelError(
            f"'{owner}' ({where}): parents= spells out '{name}', which is no argument of the function."
            f"{closest(name, signature.parameters)}"
        )
    return Body(function, tuple(edges), rng, vectorized, where, remember(function))
