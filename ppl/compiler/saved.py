"""A saved plan: what it was compiled with, what its engines learned, and which model it belongs to.

Loading compiles the same question again, which is quick, checks that the model is still the one that the plan was made for, and gives the
engines back what took long, such as trained nets. Answers are then the same to the last bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..errors import BackendError, FormatError, QueryError, StoreError
from ..files import document
from ..files.document import NotPlain, plain
from ..graph import Graph
from ..mechanism import Data
from ..versions import versions
from . import printed, registry
from .compile import compiled
from .likeness import differences, likeness, moved
from .plan import Plan
from .protocol import Budget, Method

if TYPE_CHECKING:
    from os import PathLike

__all__ = ["load", "save"]

#: Raised when older programs could not read what newer ones write.
FORMAT = 1
#: What a plan's file says.
NAMES = (
    *("versions", "model", "given", "ask", "partial", "seed", "budget"),
    *("method", "options", "absent", "observed", "data", "routes"),
)


def save(plan: Plan, path: str | PathLike[str], *, force: bool = False) -> Path:
    """Write a prepared plan; see `Plan.save`."""
    path, query = Path(path), plan.query
    options, absent = _split(query.options)
    content = {
        "versions": versions(),
        "model": likeness(plan.model, query.mechanism),
        "given": list(query.given),
        "ask": list(query.ask),
        "partial": sorted(query.partial),
        "seed": query.seed,
        "budget": asdict(plan.budget),
        "method": plan.forced,
        "options": options,
        "absent": absent,
        "observed": query.observation is not None,
        "data": {
            f.name: getattr(query.observation or query.mechanism.data, f.name) for f in fields(Data)
        },
        "routes": [_route(plan, i) for i in range(len(plan.routes))],
    }
    try:
        document.write(path, "plan", FORMAT, content, force)
    except NotPlain as error:  # the rest is our own
        raise BackendError(
            f"The plan for {plan.model.name} cannot be saved: {error}, which is neither plain data nor a tensor."
        ) from error
    return path


def load(
    path: str | PathLike[str],
    model: Any,
    method: Method | None = None,
    *,
    workers: Any = 0,
    store: Any = None,
) -> Plan:
    """A plan that was saved, ready to answer as it did.

    Args:
        path: The file that `plan.save` wrote.
        model: The model that the plan was made for. Its functions are not in the file: they come from your program.
        method: The engine with its options, only if one of them could not be written down, such as a net of your own.
        workers: As in `compile`, for engines that still simulate.
        store: As in `compile`.

    Raises:
        StoreError: If there is no such file, or the model is another one; it says which nodes were added, are gone or have changed.
        FormatError: If the file is no plan, was damaged, or is of a newer version.
        QueryError: If an option is needed that is not in the file, or `method` contradicts the file.

    Example:
        >>> import pathlib, tempfile, ppl
        >>> from ppl.distributions import Bernoulli
        >>> m = ppl.Model("m")
        >>> @m.latent
        ... def rain(): return Bernoulli(0.2)
        >>> @m.observed
        ... def wet(rain): return Bernoulli([0.1, 0.9][rain])
        >>> file = ppl.compile(m, given=["wet"]).save(pathlib.Path(tempfile.mkdtemp()) / "rain.plan")
        >>> ppl.load(file, m).posterior({"wet": 1})["rain"].probs
        tensor([0.3077, 0.6923], dtype=torch.float64)
    """
    path, graph = Path(path), getattr(model, "graph", None)
    if not isinstance(graph, Graph):
        raise QueryError(
            f"ppl.load(path, model) takes the model that the plan was made for; it was given {model!r}."
        )
    content = document.read(path, "plan", FORMAT)
    lacking = [name for name in NAMES if name not in content]
    if lacking:
        raise FormatError(f"{path} is no plan that can be read: it lacks '{lacking[0]}'.")
    then = content["versions"]
    found = differences(content["model"], graph, content["data"]["sizes"])
    if found:
        raise _other(path, content, graph, found)
    plan = compiled(
        graph,
        content["given"],
        tuple(content["ask"]),
        Data(**content["data"]),
        observed=content["observed"],
        partial=frozenset(content["partial"]),
        method=_method(path, content, method),
        budget=Budget(**content["budget"]),
        seed=content["seed"],
        workers=workers,
        store=store,
    )
    # Other versions of the programs may sample otherwise; then the code alone decides.
    found = moved(content["model"], plan.query.mechanism) if then == versions() else []
    if found:
        raise _other(path, content, graph, found)
    return _restored(path, plan, content["routes"])


# -- the engines ---------------------------------------------------------------------------------


def _route(plan: Plan, i: int) -> dict[str, Any]:
    """How a component is answered, with what its engine learned."""
    route = plan.routes[i]
    if route.ask and route.verdict is None:
        raise BackendError(printed.refusal(plan, route))
    made: dict[str, Any] = {
        "method": route.method,
        "ask": list(route.ask),
        "free": list(route.query.free),
        "evidence": list(route.query.evidence),
    }
    if route.verdict is not None and hasattr(registry.backend(route.method), "restore"):
        solver = plan._solver(i)
        if hasattr(solver, "state"):
            tensors, facts = solver.state()
            try:
                plain(facts)
            except NotPlain as error:
                raise BackendError(
                    f"'{route.method}' cannot be saved: among the facts of its state, {error}. Facts are plain data."
                ) from error
            made["state"] = {"tensors": dict(tensors), "facts": dict(facts)}
    return made


def _restored(path: Path, plan: Plan, saved: list[dict[str, Any]]) -> Plan:
    """The plan with the routes that were saved, and its engines with what they learned."""
    parts = [(list(r.ask), list(r.query.free), list(r.query.evidence)) for r in plan.routes]
    if parts != [(s["ask"], s["free"], s["evidence"]) for s in saved]:
        raise StoreError(
            f"{path}: this version of galton splits the question into other parts than the one that saved the plan. Compile it anew."
        )
    routes = []
    for route, old in zip(plan.routes, saved, strict=True):
        if route.method != old["method"]:
            verdict = next((v for v in route.verdicts if v.method == old["method"]), None)
            if verdict is None or not verdict.able:
                reason = "there is no such engine" if verdict is None else verdict.reason
                raise StoreError(
                    f"{path}: '{old['method']}' answered for {', '.join(old['ask'])} when the plan was saved, and cannot here: {reason}."
                )
            route = replace(route, verdict=verdict)
        routes.append(route)
    plan = replace(plan, routes=tuple(routes))
    for i, (route, old) in enumerate(zip(routes, saved, strict=True)):
        if "state" in old:
            restore = getattr(registry.backend(route.method), "restore", None)
            if restore is None:
                raise StoreError(
                    f"{path} holds what '{route.method}' learned, and this version of it cannot take it up. Compile the plan anew."
                )
            state = old["state"]
            plan._solvers[i] = restore(route.query, plan.budget, state["tensors"], state["facts"])
    return plan


# -- the options ---------------------------------------------------------------------------------


def _split(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The options that can be written down, and what the others are."""
    written, absent = {}, {}
    for name, value in options.items():
        try:
            plain(value, name)
        except NotPlain:
            absent[name] = f"{type(value).__module__}.{type(value).__qualname__}"
        else:
            written[name] = value
    return written, absent


def _method(path: Path, content: Mapping[str, Any], method: Method | None) -> Method | None:
    """The engine that was forced, with all of its options.

    Raises:
        QueryError: If one is needed that nobody has, or one contradicts the file.
    """
    name, options = content["method"], dict(content["options"])
    handed = {} if method is None else dict(getattr(method, "options", {}))
    said = method if isinstance(method, str | None) else method.name
    if said is not None and said != name:
        was = f"method='{name}'" if name else "no method"
        raise QueryError(
            f"{path} was compiled with {was}, not '{said}'. Leave method= out, or compile anew."
        )
    for option, value in handed.items():
        if option in content["absent"]:
            options[option] = value
        elif option not in options or not _equal(options[option], value):
            was = f"{option}={options[option]!r}" if option in options else f"no {option}"
            raise QueryError(
                f"{path} was compiled with {was}; method= hands in only what the file cannot hold. Leave it out, or compile anew."
            )
    lacking = {k: v for k, v in content["absent"].items() if k not in handed}
    if lacking:
        listed = ", ".join(f"{k} (a {v})" for k, v in lacking.items())
        text = ", ".join(f"{k}=..." for k in lacking)
        raise QueryError(
            f"{path} was compiled with options that a file cannot hold: {listed}. Hand them in: "
            f'ppl.load(path, model, method=ppl.Method("{name}", {text})).'
        )
    return None if name is None else Method(name, **options)


def _equal(one: Any, other: Any) -> bool:
    """Whether two options say the same."""
    try:
        (left, a), (right, b) = plain(one), plain(other)
    except NotPlain:
        return False
    return left == right and a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def _other(path: Path, content: Mapping[str, Any], graph: Graph, found: list[str]) -> StoreError:
    then, now = content["versions"]["python"], versions()["python"]
    python = (
        f" The code of all functions counts as changed, because the plan was saved by Python {then} and this is Python {now}."
        if then.split(".")[:2] != now.split(".")[:2]
        else ""
    )
    return StoreError(
        f"{path} holds a plan of '{content['model']['name']}' for another model than this '{graph.name}': {'; '.join(found)}."
        f"{python} Load it with the model that it was made for, or compile a plan for this one."
    )
