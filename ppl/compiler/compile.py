"""The compiler: a model and a question in, a plan out; nothing long runs here.

Passes, in order: read the data, resolve what is asked, prune, probe the bodies, split into independent components, ask every backend, rank by
the row of the decision table.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BackendError, QueryError, closest
from ..graph import Graph
from ..mechanism import Data, probe, read_data
from . import registry
from .passes import Pruned, check_observation, merged, prune, resolve_ask, split
from .plan import Plan, read_modes
from .protocol import Budget, Method, Verdict
from .query import Query
from .route import Route
from .summaries import summaries_of

if TYPE_CHECKING:
    from ..campaign import Running

__all__ = ["compile", "compiled"]


def compile(
    model: Any,
    given: Mapping[str, Any] | Collection[str] | None = None,
    of: Collection[str] | str | None = None,
    *,
    method: str | Method | None = None,
    budget: Budget | None = None,
    seed: int = 0,
    inputs: Mapping[str, Any] | None = None,
    sizes: Mapping[str, int] | None = None,
    nan: str = "error",
    workers: Any = 0,
    store: Any = None,
) -> Plan:
    """Decide how a question will be answered, and say why.

    Args:
        model: The model.
        given: The observation, as a mapping; or only the names of what will be observed, to prepare for many observations.
        of: The nodes to infer; by default the θ, or the latents of a model without θ.
        method: Force an engine, by its name or as a `Method` with options; the plan then prints what speaks against it.
        budget: What the answer may cost.
        seed: Decides every random number.
        inputs: Values of inputs and long-format columns; with an observation they may also be in `given`.
        sizes: Sizes of plates that neither the model nor the data tell.
        nan: `"missing"` reads NaN as a missing cell; otherwise it is an error.
        workers: For engines that simulate: how many local processes do it, or a Dask client or its address.
        store: For engines that simulate from the prior: a folder that keeps the draws, or has them from `model.simulate(n, store=...)`.

    Raises:
        ModelError: If a body breaks a rule.
        QueryError: If the question cannot be asked of this model.
        BackendError: If `method` cannot serve.

    Example:
        >>> import ppl
        >>> from ppl.distributions import Bernoulli
        >>> m = ppl.Model("m")
        >>> @m.latent
        ... def rain(): return Bernoulli(0.2)
        >>> @m.observed
        ... def wet(rain): return Bernoulli([0.1, 0.9][rain])
        >>> plan = ppl.compile(m, given=["wet"])
        >>> plan.routes[0].method
        'exact'
    """
    graph: Graph = model.graph
    if not len(graph):
        raise QueryError(f"{graph.name} has no nodes; declare some first.")
    budget = Budget() if budget is None else budget
    if not isinstance(budget, Budget):
        raise QueryError(
            f"budget={budget!r}: a budget says of what: ppl.Budget(simulations=...), ppl.Budget(seconds=...)."
        )
    _forced(method)  # a wrong option is refused before anything is read
    observation, names, data = _read(graph, given, inputs, sizes, nan)
    partial = frozenset(n for n in data.observed if data.missing(n)) | data.soft
    ask = resolve_ask(graph, of, names, partial)
    return compiled(
        graph,
        names,
        ask,
        data,
        observed=observation is not None,
        partial=partial,
        method=method,
        budget=budget,
        seed=seed,
        workers=workers,
        store=store,
    )


def compiled(
    graph: Graph,
    names: Collection[str],
    ask: tuple[str, ...],
    data: Data,
    *,
    observed: bool,
    partial: frozenset[str],
    method: str | Method | None,
    budget: Budget,
    seed: int,
    workers: Any,
    store: Any,
) -> Plan:
    """The plan for a question that has been read already, now or before it was saved.

    Args:
        graph: The model's whole graph.
        names: The nodes that are given.
        ask: The nodes that the answer is about.
        data: Inputs, columns and sizes, and the observation if there is one.
        observed: Whether there is one.
        partial: The given nodes that have missing cells, or may have.
        method: As in `compile`, like all that follow.
    """
    forced, options = _forced(method)
    pruned_graph, pruned = prune(graph, ask, names)
    ranges = tuple(
        node.name
        for node in pruned_graph.nodes.values()
        if node.is_input and node.body is not None and node.name not in data.inputs
    )
    if ranges and observed:
        raise QueryError(
            f"Input '{ranges[0]}' is not given: pass it with the observation, or as inputs={{'{ranges[0]}': ...}}. Its range is what a plan "
            "without an observation is prepared for."
        )
    mechanism = probe(pruned_graph, data)
    if observed:
        data = check_observation(pruned_graph, mechanism, data)
    query = Query(
        pruned_graph,
        mechanism,
        tuple(names),
        ask,
        observation=data if observed else None,
        partial=partial,
        seed=seed,
        options=options,
        running=_running(workers, store),
        ranges=ranges,
        summaries=summaries_of(graph, set(names) - partial, data),
    )
    return _planned(graph, query, tuple(pruned), budget, forced)


def _running(workers: Any, store: Any) -> Running | None:
    """Where simulations are run and kept."""
    if store is None and isinstance(workers, int) and not workers:
        return None
    from ..campaign import Running

    return Running(workers, store)


def _forced(method: str | Method | None) -> tuple[str | None, Mapping[str, Any]]:
    """The name of the forced engine, if any, and its options.

    Raises:
        QueryError: If there is no such engine, or it has no such option.
    """
    if method is None:
        return None, {}
    chosen = method if isinstance(method, Method) else Method(method)
    known = getattr(registry.backend(chosen.name), "OPTIONS", ())
    for option in chosen.options:
        if option not in known:
            takes = f"It takes {', '.join(known)}." if known else "It takes none."
            raise QueryError(
                f"method='{chosen.name}' has no option '{option}'.{closest(option, known)} {takes}"
            )
    return chosen.name, chosen.options


def with_gaps(plan: Plan, partial: frozenset[str]) -> Plan:
    """The same plan for observations in which cells of these nodes may be missing: they open paths, so it is made anew."""
    query = replace(plan.query, partial=partial, observation=None)
    barren = tuple(p for p in plan.pruned if p.name not in query.graph)
    return _planned(plan.model, query, barren, plan.budget, plan.forced)


def with_more(plan: Plan, data: Data, values: Mapping[str, Any], ask: tuple[str, ...]) -> Plan:
    """A plan for a question of the same kind, when more is known."""
    more = read_data(plan.model, values, sizes=data.sizes)
    observed, present = dict(data.observed), dict(data.present)
    for name, there in more.present.items():
        value = more.observed[name]
        if name in observed:
            both = present[name] & there
            if bool(both.any()):
                raise QueryError(f"'{name}' was observed there already.")
            fills = there.reshape((*there.shape, *[1] * (value.dim() - there.dim())))
            value = value.to(observed[name].dtype).where(fills, observed[name])
            there = there | present[name]
        observed[name], present[name] = value, there
    data = replace(data, observed=observed, present=present)
    partial = frozenset(n for n in observed if data.missing(n)) | data.soft
    names = [n for n in plan.model.nodes if n in observed or n in data.soft]

    def made(method: Method | None) -> Plan:
        return compiled(
            plan.model,
            names,
            ask,
            data,
            observed=True,
            partial=partial,
            method=method,
            budget=plan.budget,
            seed=plan.query.seed,
            workers=0,
            store=None,
        )

    if plan.forced is not None:
        return made(Method(plan.forced, **plan.query.options))
    found = made(None)
    before = {r.method for r in plan.routes if r.ask}
    if len(before) == 1 and "prior" in {r.method for r in found.routes if r.ask}:
        # What was a closed form stays one, although draws from the model would do by now.
        with suppress(BackendError):
            return made(Method(before.pop()))
    return found


def with_sizes(plan: Plan, sizes: Mapping[str, int], inputs: Mapping[str, Any]) -> Plan:
    """The same plan for other numbers of members of plates: its solvers are kept, and answer for them."""
    graph, old = plan.model, plan.query
    values = {n: inputs.get(n, v)[0] for n, v in old.mechanism.data.inputs.items()}
    data = read_data(graph, {**values, **dict(_columns(old))}, sizes=sizes)
    query = replace(
        old,
        mechanism=probe(old.graph, data),
        observation=None,
        summaries=summaries_of(graph, set(old.given) - old.partial, data),
    )
    barren = tuple(p for p in plan.pruned if p.name not in query.graph)
    found = _planned(graph, query, barren, plan.budget, plan.forced or plan.routes[0].method)
    for i, route in enumerate(found.routes):
        if route.ask and i in plan._solvers:
            found._solvers[i] = plan._solvers[i].resized(route.query)  # type: ignore[attr-defined]
    return found


def _columns(query: Query) -> Iterator[tuple[str, Any]]:
    """The columns of long-format plates, by the plates that they point at."""
    for columns in query.mechanism.columns.values():
        yield from columns.items()


def _planned(
    graph: Graph, query: Query, pruned: tuple[Pruned, ...], budget: Budget, method: str | None
) -> Plan:
    """Split into components, and a route for each."""
    queries, gone = split(query)
    if len(queries) > 1 and query.running is not None and query.running.store is not None:
        # Components are simulated apart from one another.
        store = Path(query.running.store)
        queries = [
            replace(q, running=replace(query.running, store=store / q.ask[0])) if q.ask else q
            for q in queries
        ]
    queries, routes = _whole(queries, query.graph, budget, method)
    plan = Plan(
        model=graph,
        query=query,
        routes=tuple(routes),
        pruned=(*pruned, *gone),
        modes=read_modes(query.mechanism),
        budget=budget,
        forced=method,
    )
    for part, route in zip(queries, routes, strict=True):
        if part.ask and route.verdict is None and method is not None:
            objection = next(v for v in route.verdicts if v.method == method)
            remedy = f" {objection.remedy}" if objection.remedy else ""
            raise BackendError(
                f"method='{method}' cannot serve {', '.join(part.ask)}: {objection.reason}.{remedy}"
            )
    return plan


def _read(graph: Graph, given, inputs, sizes, nan) -> tuple[Data | None, list[str], Data]:
    """The observation or nothing, the names of what is given, and the data that bodies need."""
    if given is None or isinstance(given, Mapping):
        given = dict(given or {})
        both = {**given, **(inputs or {})}
        data = read_data(graph, both, sizes=sizes, nan=nan)
        return data, [n for n in graph.nodes if n in data.observed or n in data.soft], data
    if isinstance(given, str):
        raise QueryError(f"given= is a list of names or an observation; write given=['{given}'].")
    for name in given:
        if name not in graph or graph[name].is_input:
            what = "is an input; pass inputs=" if name in graph else "is no node"
            raise QueryError(f"given= names '{name}', which {what}.{closest(name, graph.nodes)}")
        if graph[name].intervened in ("value", "policy"):
            raise QueryError(f"'{name}' was set by do(); what is set cannot also be observed.")
    data = read_data(graph, inputs or {}, sizes=sizes, nan=nan)
    return None, [n for n in graph.nodes if n in set(given)], data


def _whole(
    queries: list[Query], whole: Graph, budget: Budget, method: str | None
) -> tuple[list[Query], list[Route]]:
    """A route for each component; where the exact engine answers them all, one for all of them, in one pass."""
    if method in (None, "exact"):
        route = _exact(merged(queries, whole), budget)
        if route is not None:
            return [route.query], [route]
    return queries, [_route(part, budget, method) for part in queries]


def _exact(query: Query, budget: Budget) -> Route | None:
    """The exact engine's route, if its condition holds; the other engines are asked when somebody looks."""
    verdict = registry.judge("exact", query, budget)
    if not (verdict.able and verdict.fits):
        return None
    return Route(query, verdict, (verdict,), budget if query.ask else None)


def _route(query: Query, budget: Budget, method: str | None) -> Route:
    """The first row that fits, with every backend's reasons."""
    if not query.ask:
        verdict = registry.judge("exact", query, budget)
        return Route(query, verdict if verdict.able and verdict.fits else None, (verdict,))
    if method is None:
        exact = _exact(query, budget)
        if exact is not None:
            return exact
        asked: list[Verdict] = []
        for name in registry.ranked():
            asked.append(registry.judge(name, query, budget))
            # Rows are asked in order; the first that fits is taken, and the others are asked when somebody looks.
            best = min((v for v in asked if v.able and v.fits), key=lambda v: v.row, default=None)
            if best is not None and name in registry.OURS:
                return Route(query, best, tuple(asked), budget)
        rest = [n for n in registry.methods() if n not in registry.ranked()]
        verdicts = [*asked, *(registry.judge(n, query, budget) for n in rest)]
        chosen = sorted((v for v in verdicts if v.able and v.fits), key=lambda v: v.row)
        return Route(query, chosen[0] if chosen else None, tuple(verdicts))
    verdicts = [registry.judge(name, query, budget) for name in registry.methods()]
    # A part that the forced engine has nothing to do for is left to the others.
    chosen = [v for v in verdicts if v.able and (v.method == method or v.row == 0)]
    chosen.sort(key=lambda v: v.method != method)
    return Route(query, chosen[0] if chosen else None, tuple(verdicts))
