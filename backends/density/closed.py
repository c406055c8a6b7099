"""Row 2 of the decision table: posteriors in closed form, recognised by evaluating the density, never by reading a body.

A joint density that is quadratic in Gaussian nodes is a Gaussian; one that is linear in the sufficient statistics of a node's family stays in that
family. Both are fitted at a few points and proved at others, so whatever a body computes on the way does not matter. The finite part is enumerated:
each of its configurations has a closed form of its own, and the posterior is their mixture.

References:
    | Bayesian Data Analysis (Gelman et al., 2013), chapters 2, 3 and 14
    | Conjugate priors for exponential families (Diaconis and Ylvisaker, 1979)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import product
from math import prod
from weakref import WeakKeyDictionary

import numpy
import torch
from numpy import ndarray
from torch import Tensor

from ppl.compiler import Budget, Query, Verdict
from ppl.errors import BackendError, DistributionError, GaltonError
from ppl.mechanism import Data
from ppl.posterior import Answer, Certificate, DrawnMarginal, Marginal, TableMarginal

from .laws import (
    CONJUGATE,
    GAUSSIAN,
    Conjugate,
    Gaussian,
    Law,
    LawMarginal,
    Nowhere,
    Scaled,
    Unfitting,
)
from .layout import NotExplicit
from .problem import stand_in
from .target import Target
from .truncation import notes_of, truncated

__all__ = ["ClosedSolver", "judge", "prepare"]

#: Configurations of the finite part, and coordinates, that are tried.
CONFIGURATIONS, COORDINATES = 2**12, 1500
#: Draws from which functions of the closed form are summed up.
DRAWS = 10_000
#: Numbers that one evaluation of the density may make.
NUMBERS = 2**22


def judge(query: Query, budget: Budget) -> Verdict:
    """Able when the log joint is quadratic in Gaussian nodes, or linear in the sufficient statistics of the others."""
    try:
        form = recognised(query, query.observation or stand_in(query))
    except NotExplicit as error:
        return Verdict("closed", False, 2, str(error), remedy=error.remedy)
    except (Unfitting, DistributionError, GaltonError) as error:
        return Verdict("closed", False, 2, str(error).rstrip("."))
    count = len(form.weights)
    kinds = form.laws[0].describe()
    mixed = f", for each of {count:,} configurations of the finite part" if count > 1 else ""
    return Verdict(
        "closed",
        True,
        2,
        f"the log joint was proved {kinds} at test points{mixed}",
        guarantee="closed form: exact moments, quantiles, log-evidence and independent draws",
        grade="A",
        cost={"simulations": 0, "coordinates": form.coordinates, "configurations": count},
    )


def prepare(query: Query, budget: Budget) -> ClosedSolver:
    """Nothing: the form is found again for every observation."""
    return ClosedSolver(query)


class ClosedSolver:
    """Finds the closed form for each observation.

    Args:
        query: The component.
    """

    def __init__(self, query: Query):
        self.query = query

    def condition(self, data: Data) -> Sequence[ClosedAnswer]:
        """One answer for each observation.

        Raises:
            BackendError: If the form that was recognised does not hold for an observation.
        """
        answers = []
        for i in range(data.datasets):
            try:
                form = recognised(self.query, data if data.datasets == 1 else data.one(i))
            except (NotExplicit, Unfitting) as error:
                raise BackendError(f"No closed form for this observation: {error}.") from error
            answers.append(ClosedAnswer(self.query, form))
        return answers


class Form:
    """A mixture of closed forms.

    Args:
        target: The density, with values for the finite nodes.
        configurations: Values of the finite nodes, `(configurations, *plates, *event)` each.
        laws: The joint law of the continuous nodes in each configuration.
        log_weights: The log-evidence of each configuration.
    """

    def __init__(
        self,
        target: Target,
        configurations: Mapping[str, Tensor],
        laws: Sequence[Law],
        log_weights: ndarray,
    ):
        self.target, self.configurations, self.laws = target, configurations, laws
        top = log_weights.max()
        self.log_evidence = float(top + numpy.log(numpy.exp(log_weights - top).sum()))
        self.log_weights = log_weights - self.log_evidence
        self.weights = numpy.exp(self.log_weights)
        self.coordinates = laws[0].size


#: What judging has found, for as long as the query lives: conditioning on the query's own observation takes it up.
_FOUND: WeakKeyDictionary[Query, Form] = WeakKeyDictionary()


def recognised(query: Query, data: Data) -> Form:
    """The closed form of the posterior given one observation.

    Raises:
        NotExplicit: If a density is not known.
        Unfitting: If there is no closed form that is known here.
    """
    own = data is query.observation and data.datasets == 1
    if own and query in _FOUND:
        return _FOUND[query]
    form = _recognised(query, data)
    if own:
        _FOUND[query] = form
    return form


def _recognised(query: Query, data: Data) -> Form:
    """As `recognised`, from the beginning.

    Raises:
        NotExplicit: If a density is not known.
        Unfitting: If there is no closed form that is known here.
    """
    query = truncated(query, Budget(), data)
    families = {
        n: query.mechanism.facts[n].family
        for n in query.free
        if query.mechanism.facts[n].kind == "explicit" and not query.mechanism.facts[n].discrete
    }
    if not families:
        raise Unfitting("nothing continuous is unobserved")
    strange = [n for n, f in families.items() if f not in (*GAUSSIAN, *CONJUGATE)]
    if strange:
        raise Unfitting(
            f"'{strange[0]}' is {families[strange[0]]}, which has no conjugate form here"
        )
    count = sum(query.mechanism.count(query.graph[n]) for n in families)
    if count > COORDINATES:
        raise Unfitting(f"{count:,} coordinates are more than {COORDINATES:,}")
    configurations = _configurations(query)
    target = Target(query, data.one(0), summed=False)
    for name in target.layout.free:
        if name in target.layout.present:
            raise Unfitting(f"'{name}' is observed in part")
    names = target.layout.free
    if not names:
        raise Unfitting("nothing continuous is unobserved")
    gaussian = [n for n in names if families[n] in GAUSSIAN]
    others = [n for n in names if families[n] in CONJUGATE]
    given = {
        n: target.layout.tables.domain(n)[torch.from_numpy(places)]
        for n, places in configurations.items()
    }
    laws: dict[int, Law] = {}
    for c, density in enumerate(Densities(target, given)):
        with suppress(Nowhere):
            if not others:
                laws[c] = Gaussian.fitted(density, gaussian)
            elif not gaussian:
                laws[c] = Conjugate.fitted(density, {n: families[n] for n in others})
            else:
                laws[c] = Scaled.fitted(density, gaussian, {n: families[n] for n in others})
    if not laws:
        raise Unfitting("the density is zero in every configuration")
    which = torch.tensor(list(laws))
    possible = {n: v[which] for n, v in given.items()}
    log_weights = numpy.array([law.log_total for law in laws.values()])
    return Form(target, possible, list(laws.values()), log_weights)


def _configurations(query: Query) -> dict[str, ndarray]:
    """Places of the finite nodes' values in every configuration, `(configurations, *plates)`."""
    mechanism = query.mechanism
    names = [
        n
        for n in query.free
        if mechanism.facts[n].kind == "explicit" and mechanism.facts[n].discrete
    ]
    if not names:
        return {}
    for name in names:
        if not mechanism.facts[name].finite and name not in query.cuts:
            raise Unfitting(f"'{name}' has countably many values")
    from ppl.mechanism.tables import NotFinite, Tables, TooLarge

    tables = Tables(mechanism, {}, cuts=query.cuts)
    cards, grids = [], []
    for name in names:
        try:
            cards.append(len(tables.domain(name)))
        except (NotFinite, TooLarge) as error:
            raise Unfitting(str(error)) from error
        grids.append(tuple(mechanism.sizes[p] for p in query.graph[name].axes))
    log_count = sum(prod(g) * numpy.log(c) for g, c in zip(grids, cards, strict=True))
    if log_count > numpy.log(CONFIGURATIONS) + 1e-9:
        raise Unfitting(
            f"the finite part has 2^{log_count / numpy.log(2):.0f} configurations, and 2^{numpy.log2(CONFIGURATIONS):.0f} is the limit"
        )
    sizes = [prod(g) for g in grids]
    every = numpy.array(
        list(product(*[range(c) for c, n in zip(cards, sizes, strict=True) for _ in range(n)])),
        dtype=int,
    )
    found, start = {}, 0
    for name, grid, size in zip(names, grids, sizes, strict=True):
        found[name] = every[:, start : start + size].reshape((len(every), *grid))
        start += size
    return found


class Densities:
    """The log joint in the nodes' own values, for every configuration of the finite nodes.

    What is asked for one configuration is worked out for all of them at once, because the next one asks the same.

    Args:
        target: The density.
        given: The configurations, `(configurations, *plates, *event)` each.
    """

    def __init__(self, target: Target, given: Mapping[str, Tensor]):
        self.target, self.given = target, given
        self.count = len(next(iter(given.values()))) if given else 1
        self.chunk = max(NUMBERS // target.cells, 16)
        self._known: dict[tuple, tuple[Tensor, ...]] = {}
        self._prior: dict[tuple[int, int], dict[str, Tensor]] = {}

    def __iter__(self):
        return (Density(self, c) for c in range(self.count))

    def prior(self, n: int, seed: int) -> dict[str, Tensor]:
        """Draws of the continuous nodes from the prior, `(n, *plates, *event)`."""
        if (n, seed) not in self._prior:
            values = self.target.prior(n, seed)
            names = self.target.layout.free
            self._prior[n, seed] = {k: values[k].expand((n, *values[k].shape[1:])) for k in names}
        return self._prior[n, seed]

    def values(self, values: Mapping[str, Tensor]) -> Tensor:
        """log p of every configuration at values of the continuous nodes, `(configurations, n)`."""
        key = tuple((n, v.numpy().tobytes()) for n, v in values.items())
        if key not in self._known:
            with torch.no_grad():
                self._known[key] = (
                    self._all(len(next(iter(values.values()))), values.__getitem__),
                )
        return self._known[key][0]

    def slopes(
        self, points: Tensor, values: Callable[[Tensor], Mapping[str, Tensor]]
    ) -> tuple[Tensor, Tensor]:
        """log p of every configuration and its gradient, `(configurations, n)` and `(configurations, n, size)`."""
        n, size = points.shape
        key = tuple((k, v.numpy().tobytes()) for k, v in values(points).items())
        if (None, key) not in self._known:
            parts = []
            for rows in torch.arange(self.count * n).split(self.chunk):
                with torch.enable_grad():
                    x = points[rows % n].clone().requires_grad_(True)
                    try:
                        value = self._log_prob(values(x), rows // n)
                        (slope,) = torch.autograd.grad(value.sum(), x)
                    except RuntimeError as error:
                        raise Unfitting("the density cannot be differentiated") from error
                parts.append((value.detach(), slope))
            found, slopes = (torch.cat(p) for p in zip(*parts, strict=True))
            self._known[None, key] = (
                found.reshape((self.count, n)),
                slopes.reshape((self.count, n, size)),
            )
        both = self._known[None, key]
        return both[0], both[1]

    def _all(self, n: int, value: Callable[[str], Tensor]) -> Tensor:
        parts = [
            self._log_prob({k: value(k)[rows % n] for k in self.target.layout.free}, rows // n)
            for rows in torch.arange(self.count * n).split(self.chunk)
        ]
        return torch.cat(parts).reshape((self.count, n))

    def _log_prob(self, values: Mapping[str, Tensor], which: Tensor) -> Tensor:
        """log p of one configuration each."""

        def place(node, law, batch):
            return values[node.name] if node.name in values else self.given[node.name][which]

        found = self.target.factors.evaluate(place, len(which))
        total = torch.zeros(len(which), dtype=torch.float64)
        for logs in found.logs.values():
            total = total + logs.reshape((len(logs), -1)).sum(dim=1)
        return total


class Density:
    """The log joint in the nodes' own values, for one configuration of the finite nodes.

    Args:
        every: For all configurations.
        number: Which it is.
    """

    def __init__(self, every: Densities, number: int):
        self.every, self.number = every, number

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of one value of a node."""
        return tuple(self.prior(1)[name].shape[1:])

    def prior(self, n: int, seed: int = 0) -> dict[str, Tensor]:
        """Draws of the continuous nodes from the prior, `(n, *plates, *event)`."""
        return self.every.prior(n, seed)

    def __call__(self, values: Mapping[str, Tensor]) -> Tensor:
        """log p at values of the continuous nodes, `(n,)`."""
        return self.every.values(values)[self.number]

    def slopes(
        self, points: Tensor, values: Callable[[Tensor], Mapping[str, Tensor]]
    ) -> tuple[Tensor, Tensor]:
        """log p and its gradient at points of which `values` makes the nodes' values."""
        value, slope = self.every.slopes(points, values)
        return value[self.number], slope[self.number]


class ClosedAnswer(Answer):
    """The posterior in closed form.

    Args:
        query: The component.
        form: The mixture.
    """

    certificate = Certificate("A", "closed form, proved at test points")

    def __init__(self, query: Query, form: Form):
        self.names, self._query, self._form = query.ask, query, form
        self.log_evidence = form.log_evidence
        self.notes = notes_of(form.target.query)
        self._drawn: dict[str, Tensor] | None = None

    def marginal(self, name: str) -> Marginal:
        form, node = self._form, self._query.graph[name]
        if name in form.configurations:
            domain = form.target.layout.tables.domain(name)
            value = form.configurations[name]
            event = domain.dim() - 1
            same = value.unsqueeze(value.dim() - event) == domain
            same = same.flatten(same.dim() - event).all(-1) if event else same
            probs = torch.tensordot(torch.from_numpy(form.weights), same.to(torch.float64), dims=1)
            return TableMarginal(name, domain, probs, node.axes, node.states)
        if name in form.laws[0].names:
            parts = [law.marginal(name) for law in form.laws]
            return LawMarginal(name, parts, form.weights, node.axes)
        if self._drawn is None:
            self._drawn = self.sample(DRAWS, 1)
        return DrawnMarginal(name, self._drawn[name], node.axes)

    def sample(self, n: int, seed: int) -> dict[str, Tensor]:
        form = self._form
        rng = numpy.random.default_rng(seed)
        chosen = rng.choice(len(form.weights), n, p=form.weights / form.weights.sum())
        order = numpy.argsort(chosen, kind="stable")
        values: dict[str, list[Tensor]] = {}
        for c, count in zip(*numpy.unique(chosen, return_counts=True), strict=True):
            for name, value in form.laws[c].sample(int(count), rng).items():
                values.setdefault(name, []).append(value)
            for name, value in form.configurations.items():
                values.setdefault(name, []).append(
                    value[c : c + 1].expand((int(count), *value.shape[1:]))
                )
        back = torch.from_numpy(numpy.argsort(order))
        joined = {name: torch.cat(parts)[back] for name, parts in values.items()}
        rest = [name for name in self.names if name not in joined]
        if rest:
            target = form.target

            def place(node, law, batch):
                return joined[node.name]

            with torch.no_grad():
                found = target.factors.evaluate(place, n, scored=False).values
            joined.update({k: found[k].expand((n, *found[k].shape[1:])) for k in rest})
        return {name: joined[name] for name in self.names}

    def log_prob(self, values: Mapping[str, Tensor]) -> Tensor:
        form = self._form
        lacking = [n for n in (*form.laws[0].names, *form.configurations) if n not in values]
        extra = [n for n in values if n not in form.laws[0].names and n not in form.configurations]
        if lacking or extra:
            wanted = ", ".join((*form.laws[0].names, *form.configurations))
            raise BackendError(
                f"The density is known jointly for {wanted}; ask for exactly these (of=...)."
            )
        parts = []
        for c, law in enumerate(form.laws):
            log_p = law.log_prob(values) + form.log_weights[c]
            for name, value in form.configurations.items():
                same = values[name] == value[c]
                same = same.reshape((len(same), -1)).all(-1)
                log_p = torch.where(same, log_p, -torch.inf)
            parts.append(log_p)
        return torch.logsumexp(torch.stack(parts), dim=0)
