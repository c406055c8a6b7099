"""The posterior: one answer for all routes."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..errors import QueryError
from ..graph import Graph
from ..versions import versions
from .answer import Answer
from .certificate import Certificate, worst
from .joint import Joint, MostProbable, information, joint, most_probable, named, probability
from .marginal import Marginal
from .summary import Summary, summary

if TYPE_CHECKING:
    from os import PathLike
    from pathlib import Path

    from ..mechanism import Data
    from .comparison import Comparison

__all__ = ["Posterior"]


class Posterior:
    """p(asked nodes | observation), whichever engine found it.

    `posterior["bias"]` is the marginal of a node: `.mean`, `.sd`, `.quantile(q)`, `.hdi(level)`, `.probs`, `.draws(n)`, `.standard_error`; of a
    node in plates `posterior["z[3]"]` is that of one member.

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
        #: log p of the observed nodes that nothing asked for depends on, or `None`.
        self.unasked, self._which = unasked, which
        #: Whether it was made of another posterior, so that its answers are not what the plan's engines give.
        self.derived = False
        #: Ranks in simulated data sets, of each component whose check answered some.
        self.calibrations: tuple[Any, ...] = ()
        self._cache: dict[str, Marginal] = {}

    def __getitem__(self, name: str) -> Marginal:
        if name not in self._cache:
            if name in self._owner:
                self._cache[name] = self._owner[name].marginal(name)
            else:
                node, at = named(self, name)
                self._cache[name] = self[node].member(*at)
        return self._cache[name]

    @property
    def data(self) -> Data:
        """The observation and inputs that were conditioned on."""
        if callable(self._data):
            self._data = self._data()
        return self._data

    @property
    def observation(self) -> Data:
        """The one observation that this is the posterior of."""
        return self.data.one(self._which)

    @property
    def saved(self) -> bool:
        """Whether it was loaded from a file, and so knows nothing of the model's functions."""
        return not hasattr(self.plan, "routes")

    def __iter__(self) -> Iterator[str]:
        return iter(self.of)

    def __contains__(self, name: object) -> bool:
        return name in self._owner

    @property
    def method(self) -> str:
        """The method, or the methods of the components."""
        if self.saved:
            return self.plan.method
        routes = [r for r in self.plan.routes if any(name in self._owner for name in r.ask)]
        return " + ".join(dict.fromkeys(route.method for route in routes)) or "none"

    @cached_property
    def certificate(self) -> Certificate:
        """How far the answer can be trusted: the worst grade of its parts; `check` may raise it."""
        found = worst(answer.certificate for answer in self.answers)
        return replace(found, seed=self.plan.query.seed, versions=versions())

    @property
    def log_evidence(self) -> float:
        """log p(observation); absent (an `AttributeError`) where the route does not give it."""
        parts = [answer.log_evidence for answer in self.answers] + [self.unasked]
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

    # -- parts, and more evidence ------------------------------------------------------------------

    def like(
        self, answers: Collection[Answer], of: tuple[str, ...], unasked: float | None
    ) -> Posterior:
        """A posterior of the same model, plan and data, made of other answers."""
        found = Posterior(self.graph, answers, of, self.plan, self._data, unasked, self._which)
        found.derived = True
        return found

    def only(self, *names: str) -> Posterior:
        """The posterior of some of the nodes, everything else summed or integrated out.

        Its `log_prob` is there where the route knows it: of finite nodes under an exact route, and of one real number.

        Raises:
            QueryError: For a node that was not asked for.
        """
        from .part import only

        return only(self, names)

    def given(self, values: Mapping[str, Any] | None = None, **nodes: Any) -> Posterior:
        """The posterior conditioned further: on values of nodes that are still uncertain.

        Exact, closed-form and quadrature routes are run again with this observation, at no loss. Where only draws are known those are kept that
        have the value, which only finite nodes can have; a note says how many they are, and only independent exact draws keep their grade.

        Args:
            values: Values or labels, by node or by member (`{"z[3]": 1}`).
            nodes: The same, by keyword.

        Returns:
            The posterior of what is left.

        Raises:
            QueryError: For a node that is known already, or a value that the node never takes.
            ImpossibleError: If the values are impossible.
            BackendError: If the node is continuous and only draws are known, or too few draws have the value.

        Example:
            >>> import ppl
            >>> from ppl.distributions import Bernoulli
            >>> m = ppl.Model("m")
            >>> @m.latent
            ... def rain(): return Bernoulli(0.2)
            >>> @m.latent
            ... def hose(): return Bernoulli(0.1)
            >>> @m.observed
            ... def wet(rain, hose): return Bernoulli([[0.0, 0.9], [0.9, 0.99]][rain][hose])
            >>> posterior = ppl.infer(m, {"wet": 1})
            >>> posterior["rain"], posterior.given(hose=1)["rain"]
            (rain: 0 0.2837, 1 0.7163 (exact), rain: 0 0.7843, 1 0.2157 (exact))
        """
        from .further import given

        return given(self, {**(values or {}), **nodes})

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

    def check(self, *, budget: Any = None, seed: int = 0, progress: bool = False) -> Certificate:
        """Do more work to know how far this answer can be trusted, and grade it anew.

        Grade U becomes C if every density is explicit, importance weights are good, and an independent sampler agrees; or D if answers to simulated data
        sets are calibrated, and a classifier cannot tell them from the truth. Mark M says that the observation is unlike what the model predicts.

        Args:
            budget: `ppl.Budget(seconds=...)`, two minutes by default; `simulations=` is how many data sets are answered.
            seed: Of the checks.
            progress: Whether a bar shows how far they are.

        Returns:
            The new certificate, which is also `posterior.certificate` from now on.

        Example:
            >>> import ppl
            >>> from ppl.distributions import Bernoulli
            >>> m = ppl.Model("m")
            >>> @m.latent
            ... def rain(): return Bernoulli(0.2)
            >>> @m.observed
            ... def wet(rain): return Bernoulli([0.1, 0.9][rain])
            >>> ppl.infer(m, {"wet": 1}).check().label
            'A'
        """
        from ..checks import check

        return check(self, budget, seed, progress)

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
            seed: Decides every random number.
            model: Another model to predict with, such as `model.do(x=1)`; by default this one. What an intervention changes is drawn anew.
            inputs: New values of input nodes and of long-format columns, which may resize their plates; or a plate's new number of members. A
                node in a plate of another size is drawn anew.

        Returns:
            By node, `(n, *plates, *event)`. Draws at which a body failed are replaced; `.failed` says how many there were.

        Raises:
            QueryError: For a name that is no node, no input, or a size that does not fit.
            SimulationError: If a body fails at nearly all draws.

        Example:
            >>> import ppl
            >>> from ppl.distributions import Bernoulli, Beta
            >>> m = ppl.Model("m")
            >>> toss = m.plate("toss")
            >>> @m.theta
            ... def bias(): return Beta(1, 1)
            >>> @m.observed(plate=toss)
            ... def head(bias): return Bernoulli(bias)
            >>> posterior = ppl.infer(m, {"head": [1, 1, 1, 0]})
            >>> posterior.predict(n=500, toss=10)["head"].shape
            torch.Size([500, 10])
        """
        from .predict import predict

        return predict(self, of, n, seed, model, inputs)

    def compare(self, other: Posterior) -> Comparison:
        """How far this posterior is from another one, node by node: of the same question by another route, or under another model.

        Returns:
            A value that prints: the total variation of finite nodes; Wasserstein's distance, the shift of the mean and the ratio of the sds of
            others, in sds of `other`; the log Bayes factor where both evidences are known and the data are the same; and both grades.

        Raises:
            QueryError: If the two have no node in common, or its shape differs.
        """
        from .comparison import compare

        return compare(self, other)

    # -- looking ---------------------------------------------------------------------------------

    def summary(
        self,
        *names: str,
        level: float = 0.95,
        interval: str = "hdi",
        quantiles: Sequence[float] = (0.05, 0.5, 0.95),
    ) -> Summary:
        """A table: mean, sd, an interval and quantiles of each number, or the probabilities of a finite node.

        What is exact is printed as exact; other numbers to as many digits as their Monte-Carlo error leaves, with ESS, and R-hat of chains.

        Args:
            names: The nodes, or members such as `"z[3]"`; all that were asked for by default.
            level: The probability that the interval holds.
            interval: `"hdi"`, the shortest interval, or `"central"`.
            quantiles: Which quantiles.

        Returns:
            A value that prints, and has `.rows`, `.to_dict()` and `.to_pandas()`.

        Example:
            >>> import ppl
            >>> from ppl.distributions import Beta, Binomial
            >>> m = ppl.Model("m")
            >>> @m.theta
            ... def bias(): return Beta(2, 2)
            >>> @m.observed
            ... def heads(bias): return Binomial(10, bias)
            >>> print(ppl.infer(m, {"heads": 7}).summary(quantiles=[0.5]))
            posterior of m by closed
                    mean      sd      95% HDI           50%
              bias  0.642857  0.1237  [0.4013, 0.8737]  0.6498
              log-evidence -2.19026
              grade A: closed form, proved at test points
        """
        return summary(self, names, level=level, interval=interval, quantiles=quantiles)

    def plot(
        self, path: str | PathLike[str] | None = None, *, kind: str = "marginals", **options: Any
    ) -> Any:
        """A picture as a matplotlib figure.

        Args:
            path: Where to save it; the suffix decides the format.
            kind: `"marginals"`; `"pairs"`, numbers two by two; `"prior"` beside posterior; `"predictive"`, what it predicts beside what was seen; `"trace"`
                of chains, and their ranks; `"training"` of nets; `"tolerance"` of sequential ABC; `"ranks"` and `"coverage"` of the data sets that `check` simulated.
            options: `of=` names nodes or members such as `"z[3]"`, `truth=` marks true values, `other=` overlays another posterior, or several by
                label, `seed=` is of draws and predictions.

        Returns:
            A `matplotlib.figure.Figure`, which notebooks show.

        Raises:
            QueryError: If there is no such kind, or this posterior cannot have one; the message says why.

        Example:
            >>> import ppl
            >>> from ppl.distributions import Bernoulli
            >>> m = ppl.Model("m")
            >>> @m.latent(states=("dry", "rain"))
            ... def weather(): return Bernoulli(0.2)
            >>> figure = ppl.infer(m, {}).plot(truth={"weather": "rain"})
            >>> [text.get_text() for text in figure.axes[0].get_xticklabels()]
            ['dry', 'rain']
        """
        from ..pictures import plot

        return plot(self, kind, path, **options)

    # -- elsewhere -------------------------------------------------------------------------------

    def to_arviz(
        self, n: int = 1000, *, seed: int = 0, predictive: bool = False, prior: bool = False
    ) -> Any:
        """The posterior as an `xarray.DataTree`, which ArviZ's summaries and plots read.

        Chains stay chains; anything else is `n` draws of one chain. Axes have the names of the plates, finite nodes their labels as the
        attribute `states`. Groups: `posterior`, `sample_stats` of samplers that have any, `observed_data` (a missing cell is NaN),
        `constant_data` for inputs, and on request `posterior_predictive`, `prior` and `prior_predictive`.

        Args:
            n: How many draws, where there are no chains, and of the prior.
            seed: Decides every random number.
            predictive: Whether to predict the observed nodes, for each draw; NaN where a body fails.
            prior: Whether to draw from the prior as well.

        Raises:
            BackendError: If arviz-base is not installed.
        """
        from .exported import to_arviz

        return to_arviz(self, n, seed, predictive, prior)

    def to_pandas(self, n: int = 1000, seed: int = 0) -> Any:
        """Joint draws as a `pandas.DataFrame`: a row for each draw, a column for each number, such as `z[3]`; labels are categories.

        Raises:
            BackendError: If pandas is not installed.
        """
        from .exported import to_pandas

        return to_pandas(self, n, seed)

    def save(self, path: str | PathLike[str], *, force: bool = False) -> Path:
        """Write the posterior, so that `ppl.Posterior.load(path)` has it without the model and without inference.

        Marginals and summaries are then the same to the last bit, but for quantiles and densities of continuous nodes that are known by formula,
        which are read off a fine table. Draws are written whole where the answer consists of draws; of other answers up to 10,000 joint draws are.
        Nothing is pickled.

        Args:
            path: Of the file; any name.
            force: Whether a file of this name may be replaced.

        Raises:
            StoreError: If the file is there already, or cannot be written.
        """
        from .saved import save

        return save(self, path, force)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Posterior:
        """A posterior that was saved.

        It answers whatever needs no function of the model; `predict` wants `model=`. `.plan` is what the plan printed.

        Raises:
            StoreError: If there is no such file.
            FormatError: If it is no posterior, was damaged, or is of a newer version.

        Example:
            >>> import pathlib, tempfile, ppl
            >>> from ppl.distributions import Bernoulli
            >>> m = ppl.Model("m")
            >>> @m.latent
            ... def rain(): return Bernoulli(0.25)
            >>> file = ppl.infer(m, {}).save(pathlib.Path(tempfile.mkdtemp()) / "rain.posterior")
            >>> ppl.Posterior.load(file)["rain"]
            rain: 0 0.75, 1 0.25 (exact)
        """
        from .saved import load

        return load(path)

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()

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
        return str(self.summary())

    def __repr__(self) -> str:
        return f"Posterior({', '.join(self.of)}; {self.method}, grade {self.certificate.grade})"
