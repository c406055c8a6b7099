"""Rejection ABC: simulate from the model, keep the draws whose data look like ours.

The kept draws are samples of p(θ | distance(x, x_seen) ≤ tolerance), which is the posterior itself when the data are discrete and the tolerance
is zero. Others are adjusted by regression.

References:
    | Inferring coalescence times from DNA sequence data (Tavaré et al., 1997)
    | https://doi.org/10.1093/genetics/145.2.505
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from backends.kernels.parameters import Coordinates
from ppl.campaign import Progress, opened
from ppl.compiler import Budget, Query, Verdict
from ppl.errors import BackendError, QueryError
from ppl.mechanism import Batch, Data, forward
from ppl.posterior import Certificate, Draws

from .accepted import EXPLICIT, FORCED, answer, discrete, domains
from .comparison import OPTIONS as COMMON
from .comparison import Comparison, Seen, checked
from .distance import scales

__all__ = ["OPTIONS", "RejectionSolver", "judge", "prepare"]

#: What `ppl.Method("rejection", …)` takes: the share that is kept, besides what all engines of this package take.
OPTIONS = (*COMMON, "quantile")
#: Simulations when the budget does not say.
SIMULATIONS = 100_000
#: Simulations of the pilot, which sets scales and predicts the acceptance; its part of the budget where summaries are learned from it.
PILOT, LEARNING, MOST = 2_048, 0.1, 20_000
#: Exact hits that the decision table asks for.
HITS = 1_000
#: Exact matching is used, rather than a tolerance, when the pilot predicts this many hits.
USABLE_HITS = 200
#: Data dimensions beyond which the pilot's linear prediction of a tolerance is not trusted.
DIMENSIONS = 5
#: The share that a tolerance keeps, and the fewest draws that it keeps.
QUANTILE, FEWEST = 0.01, 100
#: Number of the pilot's batch: no campaign counts so far.
PILOT_BATCH = 2**40


def judge(query: Query, budget: Budget) -> Verdict:
    """Fits when something is opaque and a pilot predicts enough exact hits, or a tolerance that hardly widens the posterior."""
    checked(query)
    simulations = budget.simulations or SIMULATIONS
    cost = {"simulations": simulations}
    if not query.evidence:
        return Verdict("rejection", False, 6, "there is no data to compare with")
    opaque = [
        n for n in (*query.free, *query.evidence) if query.mechanism.facts[n].kind == "opaque"
    ]
    opaque = list(dict.fromkeys(opaque))  # partly observed nodes are in both
    if not opaque:
        return Verdict(
            "rejection",
            True,
            6,
            EXPLICIT,
            fits=False,
            guarantee=_guarantee(query),
            grade="A" if discrete(query) else "U",
            cost=cost,
            remedy=FORCED,
        )
    why = f"{', '.join(opaque[:3])} {'is' if len(opaque) == 1 else 'are'} opaque"
    pilot = _pilot(query, min(PILOT, simulations))
    if discrete(query):
        rate, predicted = pilot.match_rate, pilot.match_rate * simulations
        text = f"{why} and the data are discrete; the pilot matched {rate:.2%}, which predicts {predicted:,.0f} exact hits"
        if predicted >= HITS:
            return Verdict(
                "rejection", True, 6, text, guarantee=_guarantee(query), grade="A", cost=cost
            )
        text += f", fewer than {HITS:,}"
    else:
        text = f"{why}; the data have {pilot.dimensions} continuous dimensions"
    if pilot.dimensions > DIMENSIONS:
        return Verdict(
            "rejection",
            True,
            6,
            f"{text}; a tolerance in {pilot.dimensions} dimensions keeps what is far away (the limit is {DIMENSIONS})",
            fits=False,
            guarantee=_guarantee(query),
            grade="U",
            cost=cost,
            remedy="A few telling summaries as deterministic nodes, observed instead, would open it.",
        )
    inflation = pilot.inflation(simulations)
    text += f"; at the pilot's tolerance the posterior sd would grow by {inflation:.0%}"
    fits = inflation <= 0.05
    return Verdict(
        "rejection",
        True,
        6,
        text,
        fits=fits,
        guarantee="draws of an approximate posterior; the tolerance is reported",
        grade="U",
        cost=cost,
        remedy=""
        if fits
        else "More simulations, or fewer and more telling summaries as deterministic nodes, would open it.",
    )


def prepare(query: Query, budget: Budget) -> RejectionSolver:
    """Nothing: rejection needs the observation to begin."""
    return RejectionSolver(query, budget)


def _guarantee(query: Query) -> str:
    if discrete(query):
        return "exact draws where the data can be matched exactly, otherwise approximate ones with the tolerance reported"
    return "draws of an approximate posterior; the tolerance is reported"


@dataclass(frozen=True, eq=False)
class Pilot:
    """A few simulations: how often they match, and how a tolerance would widen the posterior."""

    match_rate: float
    dimensions: int
    theta: Tensor
    cells: Tensor
    target: Tensor
    noise: Tensor

    def inflation(self, simulations: int) -> float:
        """How much wider the posterior sd becomes at the tolerance that the budget allows.

        A uniform ball of radius ε around the target adds ε² / (d + 2) to the variance of each number. θ is regressed on the scaled data, and by that much times b²
        its residual variance grows; where the relation is bent, a line sees nothing of it, but the blur is still there beside the noise of the data given θ.
        """
        n, d = self.cells.shape
        if self.theta.shape[1] == 0 or n < 4 * (d + 1):
            return float("inf")
        scale = scales(self.cells)
        x = self.cells / scale
        distances = ((x - self.target / scale) ** 2).sum(dim=1).sqrt()
        keep = max(FEWEST, int(QUANTILE * simulations)) / simulations
        # Distances beyond the pilot's resolution follow the volume of a ball, ε ∝ rate^(1/d).
        resolved = min(max(keep, 20 / n), 1.0)
        radius = float(distances.quantile(resolved)) * (keep / resolved) ** (1 / d)
        design = torch.cat([torch.ones(n, 1, dtype=torch.float64), x - x.mean(dim=0)], dim=1)
        solution = torch.linalg.lstsq(design, self.theta, driver="gelsd").solution
        residual = (self.theta - design @ solution).var(dim=0)
        added = (solution[1:] ** 2).sum(dim=0) * radius**2 / (d + 2)
        blur = radius**2 / (d + 2) / (self.noise / scale).clamp(min=1e-9) ** 2
        return float(
            (1 + max(float((added / residual.clamp(min=1e-12)).max()), float(blur.max()))) ** 0.5
            - 1
        )


def _pilot(query: Query, n: int) -> Pilot:
    fixed, only = {}, None
    if query.observation is not None:
        fixed = {name: query.observation.observed[name][:1] for name in query.clamped}
        only = set(query.graph.nodes)
    batch = forward(query.mechanism, n, (query.seed, PILOT_BATCH), fixed=fixed, only=only)
    ok = ~batch.failed
    if query.observation is not None:
        seen = Seen.of(query, query.observation, 0)
        cells = seen.of_draws(batch.values, n)[ok]
        target = seen.cells
        rate = float((cells == target).all(dim=1).to(torch.float64).mean()) if len(cells) else 0.0
    else:
        seen = Seen.like(query, batch.values, n)
        cells = seen.of_draws(batch.values, n)[ok]
        # Before the data are known, another simulation stands in for them.
        half = len(cells) // 2
        rate = (
            float((cells[:half] == cells[half : 2 * half]).all(dim=1).to(torch.float64).mean())
            if half
            else 0.0
        )
        target = cells.median(dim=0).values if len(cells) else seen.cells
    theta = [
        batch.values[a].expand((n, *batch.values[a].shape[1:])).reshape(n, -1)[ok].to(torch.float64)
        for a in query.ask
    ]
    noise = _noise(query, batch.values, n, seen, cells) if rate < 1 else torch.zeros(cells.shape[1])
    return Pilot(rate, cells.shape[1], torch.cat(theta, dim=1), cells, target, noise)


def _noise(query: Query, values: Mapping[str, Tensor], n: int, seen: Seen, cells: Tensor) -> Tensor:
    """The sd of each number of the data given the parameters, from a second simulation of each draw, `(cells,)`."""
    above = query.graph.ancestors_of(query.ask) | {*query.ask, *query.clamped}
    kinds = ("explicit", "opaque", "deterministic", "input")
    same = {m: values[m] for m in above if query.mechanism.facts[m].kind in kinds}
    again = forward(query.mechanism, n, (query.seed, PILOT_BATCH + 1), fixed=same)
    first = seen.of_draws(values, n)
    change = seen.of_draws(again.values, n) - first
    both = torch.isfinite(change).all(dim=1) & ~again.failed
    # The median of a squared Gaussian is 0.455 of its variance; wild draws do not count.
    return (
        (change[both] ** 2 / 2).median(dim=0).values.div(0.455).sqrt()
        if bool(both.any())
        else cells.std(dim=0)
    )


@dataclass(eq=False)
class _Kept:
    """The draws that were kept for one observation so far."""

    values: dict[str, list[Tensor]] = field(default_factory=dict)
    distances: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))
    count: int = 0

    def add(self, drawn: Mapping[str, Tensor], rows: Tensor) -> None:
        """Append some rows of a batch."""
        for name, value in drawn.items():
            self.values.setdefault(name, []).append(value[rows])
        self.count += len(rows)

    def add_nearest(self, drawn: Mapping[str, Tensor], distances: Tensor, most: int) -> None:
        """Keep the nearest of what is held and what is new: memory does not grow with the campaign."""
        if len(self.distances) == most:
            rows = (distances < self.distances[-1]).nonzero()[:, 0]
            if not len(rows):
                return
        else:
            rows = torch.arange(len(distances))
        both = torch.cat([self.distances, distances[rows]])
        # Stable: of equal distances the earliest stay, however many batches there are.
        order = both.argsort(stable=True)[:most]
        for name, value in drawn.items():
            held, new = self.values.get(name), value[rows]
            self.values[name] = [torch.cat([held[0], new])[order] if held else new[order]]
        self.distances, self.count = both[order], len(order)


#: Under this name what was compared is kept beside the asked nodes.
_COMPARED = " compared"


@dataclass(eq=False)
class _Observation:
    """One observation's data, how simulations are compared with them, and what was kept.

    Args:
        seen: The data.
        comparison: `None` where they are matched exactly.
    """

    seen: Seen
    comparison: Comparison | None
    kept: _Kept = field(default_factory=_Kept)


def _tell(progress: Progress, one: _Observation, done: int) -> None:
    """Acceptance and tolerance so far, at the end of the bar."""
    kept = one.kept
    progress.tell(acceptance=f"{kept.count / done:.2g}")
    if one.comparison is not None and kept.count:
        progress.tell(tolerance=f"{float(kept.distances[-1]):.3g}")


class RejectionSolver:
    """Simulates within the budget and keeps what is near each observation.

    Args:
        query: The component.
        budget: Simulations and seconds.
    """

    def __init__(self, query: Query, budget: Budget):
        self.query, self.budget = query, budget
        share = query.options.get("quantile", QUANTILE)
        if not (isinstance(share, int | float) and 0 < share <= 1):
            raise QueryError(f"quantile={share!r}: the share that is kept lies in (0, 1].")
        self._share = float(share)
        self._tolerance: float | None = query.options.get("tolerance")

    def condition(self, data: Data) -> Sequence[Draws]:
        """One answer for each observation; those with the same observed parents share their simulations.

        Raises:
            BackendError: If nothing could be kept.
        """
        if self.query.clamped and data.datasets > 1:
            return [self._condition(replace(data, datasets=1), i)[0] for i in range(data.datasets)]
        return self._condition(data, None)

    def _condition(self, data: Data, only: int | None) -> list[Draws]:
        query, mechanism = self.query, self.query.mechanism
        simulations = self.budget.simulations or SIMULATIONS
        which = range(data.datasets) if only is None else [only]
        fixed = {name: data.observed[name][which[0] : which[0] + 1] for name in query.clamped}
        nodes = set(query.graph.nodes)
        seen = [Seen.of(query, data, i) for i in which]
        begun = time.monotonic()
        observations = self._fitted(seen, simulations, fixed, nodes)
        done, failed, cut = 0, 0, False
        with opened(
            mechanism,
            simulations,
            query.seed,
            query.running,
            fixed=fixed,
            only=nodes,
            title="rejection",
        ) as campaign:
            for batch in campaign.batches:
                take = min(campaign.size, simulations - done)
                self._offer(observations, batch, campaign.size, take, simulations)
                done += take
                failed += int(batch.failed[:take].sum())
                _tell(campaign.progress, observations[0], done)
                if done < simulations and time.monotonic() - begun > self.budget.seconds:
                    cut = True
                    break
        notes = [campaign.note] if campaign.note else []
        return [self._answer(o, done, failed, cut, simulations, notes) for o in observations]

    def _fitted(self, seen: list[Seen], simulations: int, fixed, nodes) -> list[_Observation]:
        """How each observation is compared, from a pilot."""
        query = self.query
        n = min(max(PILOT, min(int(LEARNING * simulations), MOST)), simulations)
        pilot = forward(query.mechanism, n, (query.seed, PILOT_BATCH), fixed=fixed, only=nodes)
        ok = ~pilot.failed
        if not bool(ok.any()):
            raise BackendError(
                f"rejection: every simulation of the pilot failed ({dict(pilot.failures)})."
            )
        u = Coordinates(query.mechanism, query.ask).targets(pilot.values)
        u = u.expand((n, u.shape[1]))[ok]
        found = []
        for one in seen:
            cells = one.of_draws(pilot.values, n)[ok]
            rate = float((cells == one.cells).all(dim=1).to(torch.float64).mean())
            exact = self._tolerance == 0 or (
                self._tolerance is None and discrete(query) and rate * simulations >= USABLE_HITS
            )
            found.append(_Observation(one, None if exact else Comparison(query, one, cells, u)))
        return found

    def _offer(
        self, observations: list[_Observation], batch: Batch, size: int, take: int, wanted: int
    ) -> None:
        """Keep what is near of a batch, of which `take` draws count."""
        drawn = {
            name: batch.values[name].expand((size, *batch.values[name].shape[1:]))
            for name in self.query.ask
        }
        valid = ~batch.failed
        if take < size:
            valid = valid & (torch.arange(size) < take)
        most = max(FEWEST, int(self._share * wanted))
        for one in observations:
            cells = one.seen.of_draws(batch.values, size)
            if one.comparison is None:
                match = (cells == one.seen.cells).all(dim=1) & valid
                one.kept.add(drawn, match.nonzero()[:, 0])
                continue
            statistics = one.comparison.statistics(cells)
            distances = one.comparison.distance(statistics)
            distances = distances.masked_fill(~valid, torch.inf)
            if self._tolerance is not None:
                distances = distances.masked_fill(distances > self._tolerance, torch.inf)
            one.kept.add_nearest({**drawn, _COMPARED: statistics}, distances, most)

    def _answer(
        self,
        one: _Observation,
        done: int,
        failed: int,
        cut: bool,
        simulations: int,
        notes: list[str],
    ) -> Draws:
        kept = one.kept
        usable = kept.count if one.comparison is None else int(kept.distances.isfinite().sum())
        if not usable:
            near = "" if self._tolerance is None else f" within the tolerance {self._tolerance:g}"
            raise BackendError(
                f"rejection: none of {done:,} simulations could be kept{near}; raise Budget(simulations=...)."
            )
        values = {name: torch.cat(v)[:usable] for name, v in kept.values.items()}
        notes = [*notes]
        if cut:
            notes.append(
                f"rejection stopped at its budget of {self.budget.seconds:g} s after {done:,} of {simulations:,} simulations"
            )
        if failed:
            notes.append(f"{failed:,} of {done:,} simulations failed and were never accepted")
        checks: dict[str, float | int | str] = {
            "simulations": done,
            "accepted": usable,
            "acceptance": f"{usable / done:.3g}",
        }
        query = self.query
        if one.comparison is None:
            certificate = Certificate("A", "exact draws: the data were matched exactly", checks)
            return Draws(query.graph, values, certificate, domains(query), tuple(notes))
        statistics = values.pop(_COMPARED)
        if one.comparison.kind != "raw":
            notes.append(
                f"{len(one.seen.cells)} numbers were summarised as {statistics.shape[1]} predicted parameters ({one.comparison.kind})"
            )
        return answer(
            query,
            one.comparison,
            values,
            statistics,
            kept.distances[:usable],
            torch.ones(usable, dtype=torch.float64),
            checks,
            notes,
            "ABC with a tolerance; the width that it adds is not verified",
        )
