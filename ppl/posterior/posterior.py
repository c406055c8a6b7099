"""The posterior: one answer for all routes."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..errors import QueryError, closest
from ..graph import Graph
from .answer import Answer
from .certificate import Certificate, worst
from .joint import Joint, MostProbable, information, joint, most_probable, probability
from .marginal import Marginal

if TYPE_CHECKING:
    from ..mechanism import Data

__all__ = ["Posterior"]


class Posterior:
    """p(asked nodes | observation), whichever engine found it.

    `posterior["bias"]` is the marginal of a node: `.mean`, `.sd`, `.quantile(q)`, `.probs`, `.draws(n)`, `.standard_error`.

    Args:
        graph: The model's whole graph.
        answers: One for each independent component.
        of: The nodes that were asked for, in order.
        plan: The plan that was followed.
        data: The observation and inputs that were conditioned on, or a function that reads them when they are wanted.
        unasked: log p of observed nodes that nothing asked for depends on, or `None` when it is not known.
        which: Which observation of `data` this is.

    Example:
        >>> import ppl
        >>> from ppl.distributions import Bernoulli
        >>> m = ppl.Model("m")
        >>> @m.latent
        ... def rain(): return Bernoulli(0.2)
        >>> @m.observed
        ... def wet(rain): return Bernoulli([0.1, 0.9][rain])
        >>> posterior = ppl.infer(m, {"wet": 1})
        >>> round(float(posterior["rain"].prob(1)), 4), posterior.certificate.grade
        (0.6923, 'A')
        >>> round(posterior.log_evidence, 4)
        -1.3471
    """

    def __init__(
        self,
        graph: Graph,
        answers: Collection[Answer],
        of: tuple[str, ...],
        plan: Any,
        data: Data | Callable[[], Data],
        unasked: float | None = 0.0,
        which: int = 0,
    ):
        self.graph, self.answers, self.of, self.plan = graph, tuple(answers), of, plan
        self._data = data
        self._owner = {name: answer for answer in self.answers for name in answer.names}
        self._unasked, self._which = unasked, which
        self._cache: dict[str, Marginal] = {}

    def __getitem__(self, name: str) -> Marginal:
        if name not in self._owner:
            raise QueryError(
                f"The posterior has no '{name}'; it was not asked for.{closest(name, self.of)}"
            )
        if name not in self._cache:
            self._cache[name] = self._owner[name].marginal(name)
        return self._cache[name]

    @property
    def data(self) -> Data:
        """The observation and inputs that were conditioned on."""
        if callable(self._data):
            self._data = self._data()
        return self._data

    def __iter__(self) -> Iterator[str]:
        return iter(self.of)

    def __contains__(self, name: object) -> bool:
        return name in self._owner

    @property
    def method(self) -> str:
        """The method, or the methods of the components."""
        return (
            " + ".join(dict.fromkeys(route.method for route in self.plan.routes if route.ask))
            or "none"
        )

    @cached_property
    def certificate(self) -> Certificate:
        """How far the answer can be trusted: the worst grade of its parts."""
        return worst(answer.certificate for answer in self.answers)

    @property
    def log_evidence(self) -> float:
        """log p(observation); absent (an `AttributeError`) where the route does not give it."""
        parts = [answer.log_evidence for answer in self.answers] + [self._unasked]
        if any(part is None for part in parts):
            raise AttributeError(
                f"log_evidence is not known by the route that was taken ({self.method})."
            )
        return float(sum(parts))  # type: ignore[arg-type]

    @property
    def notes(self) -> tuple[str, ...]:
        """What the engines want the user to know."""
        return tuple(dict.fromkeys(note for answer in self.answers for note in answer.notes))

    def sample(self, n: int, seed: int = 0) -> dict[str, Tensor]:
        """Joint posterior draws of the asked nodes, `(n, *plates, *event)` each."""
        if n < 1:
            raise QueryError(f"sample({n}): the number of draws is a positive integer.")
        found: dict[str, Tensor] = {}
        for answer in self.answers:
            own = (seed * 0x9E3779B1 + zlib.crc32(",".join(answer.names).encode())) % 2**62
            found.update(answer.sample(n, own))
        return {name: found[name] for name in self.of}

    def log_prob(self, values: Mapping[str, Any]) -> Tensor:
        """log p(values | observation), jointly.

        Args:
            values: Every asked node: one value `(*plates, *event)`, or a batch of them with one more leading axis.

        Raises:
            QueryError: If a node is missing.
            BackendError: If the route knows draws only.
        """
        lacking = [name for name in self.of if name not in values]
        if lacking:
            raise QueryError(f"log_prob needs a value for '{lacking[0]}'.")
        tensors, single = {}, True
        for name in self.of:
            reference = self._owner[name].sample(1, 0)[name]
            value = torch.as_tensor(values[name]).to(reference.dtype)
            single = single and value.dim() == reference.dim() - 1
            tensors[name] = value.unsqueeze(0) if value.dim() == reference.dim() - 1 else value
        total = torch.zeros((), dtype=torch.float64)
        for answer in self.answers:
            total = total + answer.log_prob({name: tensors[name] for name in answer.names})
        return total[0] if single and total.dim() else total

    def joint(self, *names: str) -> Joint:
        """The joint probabilities of some finite nodes that were asked for.

        Args:
            names: Nodes; one member of a node in plates is written `"z[3]"`.

        Raises:
            QueryError: For a node that was not asked for, or a node in plates without its member.
            BackendError: If the table would be too large.
        """
        return joint(self, names)

    def probability(self, event: Callable[..., Any], **nodes: str) -> float:
        """The posterior probability of an event: a predicate over a few finite nodes.

        Args:
            event: A function of nodes, by the names of its arguments; it gets plain values.
            nodes: What an argument stands for, where it is not a node's own name: `first="z[0]"`.

        Example:
            >>> import ppl
            >>> from ppl.distributions import Integers
            >>> dice = ppl.Model("dice")
            >>> @dice.latent
            ... def one(): return Integers(1, 6)
            >>> @dice.latent
            ... def two(): return Integers(1, 6)
            >>> round(ppl.infer(dice, {}).probability(lambda one, two: one + two >= 10), 4)
            0.1667
        """
        return probability(self, event, nodes)

    def entropy(self, *names: str) -> float:
        """The entropy of some finite nodes jointly, in nats."""
        return joint(self, names).entropy

    def mutual_information(self, one: str | Sequence[str], two: str | Sequence[str]) -> float:
        """I(one; two | observation) in nats, of nodes or sets of nodes."""
        sides = [[side] if isinstance(side, str) else list(side) for side in (one, two)]
        return information(self, *sides)

    def most_probable(self, *names: str) -> MostProbable:
        """The jointly most probable values: MPE of everything asked for, or marginal MAP of some, with the others summed out.

        Args:
            names: The nodes; all that were asked for by default.

        Returns:
            A mapping from node to value, with `.log_prob`, the log of their posterior probability.
        """
        return most_probable(self, names or self.of)

    def sensitivity(self, name: str) -> Tensor:
        """The gradient of the log-evidence with respect to a node's table, `(*parents, own)`, its entries taken as free numbers.

        Args:
            name: A finite node whose body depends on finite parents only, observed or not.

        Raises:
            QueryError: If the node has no such table.
            BackendError: If the route is not exact.
        """
        return self.plan.sensitivity(name, self.data.one(self._which))

    def predict(
        self,
        of: Collection[str] | str | None = None,
        *,
        n: int = 1000,
        seed: int = 0,
        model: Any = None,
        **inputs: Any,
    ) -> Mapping[str, Tensor]:
        """The posterior predictive: reported nodes keep their posterior draws, everything else is drawn anew.

        Args:
            of: The nodes to predict; by default the observed ones.
            n: How many draws.
            model: Another model to predict with, such as `model.do(x=1)`; by default this one.
            inputs: New values of input nodes; they may resize their plates.

        Returns:
            By node, `(n, *plates, *event)`.
        """
        from .predict import predict

        return predict(self, of, n, seed, model, inputs)

    def summary(self) -> str:
        """A table: mean, sd and central interval, or the probabilities of a finite node."""
        from .summary import summary

        return summary(self)

    def plot(self, path: str | None = None, **options: Any) -> Any:
        """Marginals as a matplotlib figure, saved where `path` says."""
        from .plotting import plot

        return plot(self, path, **options)

    def report(self, path: str | PathLike[str], *, force: bool = False, draws: int = 200) -> Path:
        """Write everything about this answer into one HTML file: model, plan, posterior, predictive check, certificate, versions.

        The file needs no network and no program but a browser; equal inputs give equal files.

        Args:
            path: Of the file.
            force: Whether a file of this name may be replaced.
            draws: How many data sets the predictive check simulates; 0 leaves it out.

        Returns:
            The path.

        Raises:
            StoreError: If the file is there already, or cannot be written.

        Example:
            >>> import pathlib, tempfile, ppl
            >>> from ppl.distributions import Bernoulli
            >>> m = ppl.Model("m")
            >>> @m.latent
            ... def rain(): return Bernoulli(0.2)
            >>> @m.observed
            ... def wet(rain): return Bernoulli([0.1, 0.9][rain])
            >>> file = pathlib.Path(tempfile.mkdtemp()) / "rain.html"
            >>> ppl.infer(m, {"wet": 1}).report(file) == file and "0.6923" in file.read_text()
            True
        """
        from ..report import of_posterior

        return of_posterior(self, path, force=force, draws=draws)

    def __str__(self) -> str:
        return self.summary()

    def __repr__(self) -> str:
        return f"Posterior({', '.join(self.of)}; {self.method}, grade {self.certificate.grade})"
