"""A node: one variable of the model, and the function that says how it comes about.

Nodes, plates and bodies are frozen; surgery makes new ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

__all__ = ["ROLES", "Body", "Node", "Parent", "Plate", "Previous", "previous"]

ROLES = ("theta", "nuisance", "latent", "observed", "input", "deterministic")


@dataclass(frozen=True)
class Plate:
    """Conditionally independent repetition, or, when `ordered`, a chain.

    Args:
        name: How bodies and data refer to it.
        size: The number of members, or `None` when the data decide.
        ordered: Whether the members follow one another, so that bodies may ask for `previous`.
        of: The plates whose members each member points at (long format: ragged or crossed).
    """

    name: str
    size: int | None = None
    ordered: bool = False
    of: tuple[str, ...] = ()


@dataclass(frozen=True)
class Previous:
    """Marks a lagged parent: the value of `node` one member earlier in the ordered plate."""

    node: str


def previous(node: str) -> Previous:
    """The value of another node one member earlier, for `parents={"argument": previous("node")}`.

    Example:
        >>> previous("y")
        Previous(node='y')
    """
    return Previous(node)


@dataclass(frozen=True)
class Parent:
    """An edge into a node: which argument of the body it fills, and from where.

    Args:
        argument: The body's argument.
        source: A node's name, or a plate's name when `kind` is `"index"`.
        kind: `"value"`, `"previous"` (one member earlier) or `"index"` (the member's number).
    """

    argument: str
    source: str
    kind: str = "value"


@dataclass(frozen=True, eq=False)
class Body:
    """A user's function, with what its signature says about how to call it.

    Args:
        function: The function itself.
        parents: Its arguments that are filled from the graph, in order.
        rng: Whether it asks for a seeded `numpy.random.Generator`.
        vectorized: Whether it promises to take and return whole batches.
        where: `file:line` of its definition.
        remembered: What it closed over when it was declared, to notice a later change.
    """

    function: Callable[..., Any]
    parents: tuple[Parent, ...] = ()
    rng: bool = False
    vectorized: bool = False
    where: str = "unknown place"
    remembered: tuple = field(default=(), repr=False)


@dataclass(frozen=True, eq=False)
class Node:
    """A variable of the model.

    Args:
        name: Unique in its graph.
        role: One of `ROLES`: what the variable is for, never how it is sampled.
        body: How one draw of it comes about; `None` for an input without a range.
        start: The body of the first member of a chain.
        plates: The plates that it is repeated over, outermost first.
        over: The plate whose members one call of the body returns all at once.
        states: Labels of a finite node's values, in increasing order of the values.
        support: The support that the user declares, for a prior that can only be sampled.
        outputs: The names of what a body that returns a dict returns; such a node is only a carrier.
        picks: For the child of a carrier: its position among the carrier's outputs.
        intervened: `"value"`, `"policy"` or `"soft"` when `do` has replaced the body.
        cut: The parents that `do` has cut off, kept for the picture.
        summary: Whether it is a summary of observed nodes, by which simulations are compared with data.
    """

    name: str
    role: str
    body: Body | None = None
    start: Body | None = None
    plates: tuple[str, ...] = ()
    over: str | None = None
    states: tuple | None = None
    support: Any = None
    outputs: tuple[str, ...] = ()
    picks: int | None = None
    intervened: str | None = None
    cut: tuple[str, ...] = ()
    summary: bool = False
    where: str = "unknown place"

    @property
    def axes(self) -> tuple[str, ...]:
        """The plates that its values have an axis for, in order."""
        return self.plates if self.over is None else (*self.plates, self.over)

    @property
    def determined(self) -> bool:
        """Whether the node is declared (or set) to be a pure function of its parents."""
        return (
            self.role == "deterministic"
            or self.intervened in ("value", "policy")
            or self.picks is not None
        )

    @property
    def is_input(self) -> bool:
        """Whether the node is known and never random."""
        return self.role == "input" and self.intervened is None

    @cached_property
    def bodies(self) -> tuple[Body, ...]:
        """The body, and the body of the first member where there is one."""
        return tuple(body for body in (self.body, self.start) if body is not None)

    @cached_property
    def parents(self) -> tuple[str, ...]:
        """Names of the nodes that it depends on at the same member, without repetition."""
        found = [p.source for body in self.bodies for p in body.parents if p.kind == "value"]
        return tuple(dict.fromkeys(found))

    @cached_property
    def lags(self) -> tuple[str, ...]:
        """Names of the nodes that it depends on one member earlier."""
        found = [p.source for body in self.bodies for p in body.parents if p.kind == "previous"]
        return tuple(dict.fromkeys(found))
