"""The front door: compile, then run."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from .compiler import Budget, Method, compile
from .errors import QueryError, UnverifiedError
from .posterior import Posterior

__all__ = ["infer"]


def infer(
    model: Any,
    observation: Mapping[str, Any] | None = None,
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
    strict: bool = False,
) -> Posterior:
    """The posterior of a model given an observation, by the route that the compiler finds.

    Args:
        model: The model.
        observation: Values by node; labels are accepted, missing cells are `None`. Inputs may be here too.
        of: The nodes to infer; by default the θ, or the latents of a model without θ.
        method: Force an engine: `"exact"`, `"rejection"`, `"npe"`, …; `ppl.Method("rejection", quantile=0.001)` gives it options.
        budget: What the answer may cost.
        seed: Decides every random number.
        inputs: Values of input nodes and columns of long-format plates.
        sizes: Sizes of plates that neither the model nor the data tell.
        nan: `"missing"` reads NaN as a missing cell; otherwise it is an error.
        workers: For engines that simulate: how many local processes do it, or a Dask client or its address.
        store: For engines that simulate from the prior: a folder that keeps the draws, or has them from `model.simulate(n, store=...)`.
        strict: Whether an answer that nothing vouches for is refused: one of grade U is checked (`Posterior.check`), and raises if it stays U.

    Raises:
        ModelError: If a body breaks a rule.
        QueryError: If the question cannot be asked of this model.
        ImpossibleError: If the observation has probability zero.
        BackendError: If no engine can answer; it lists what speaks against each.
        UnverifiedError: With `strict=True`, if the answer stays unverified.

    Example:
        >>> import ppl
        >>> from ppl.distributions import Bernoulli
        >>> m = ppl.Model("m")
        >>> @m.latent(states=("dry", "rain"))
        ... def weather(): return Bernoulli(0.2)
        >>> @m.observed
        ... def wet(weather): return Bernoulli([0.1, 0.9][weather])
        >>> ppl.infer(m, {"wet": 1})["weather"]
        weather: dry 0.3077, rain 0.6923 (exact)
    """
    if observation is not None and not isinstance(observation, Mapping):
        raise QueryError(
            f"An observation is a dictionary from node to value; it was {observation!r}."
        )
    plan = compile(
        model,
        dict(observation or {}),
        of,
        method=method,
        budget=budget,
        seed=seed,
        inputs=inputs,
        sizes=sizes,
        nan=nan,
        workers=workers,
        store=store,
    )
    posterior = plan.posterior()
    if strict and posterior.certificate.grade == "U" and posterior.check(seed=seed).grade == "U":
        raise UnverifiedError(
            f"The posterior of {', '.join(posterior.of)} is unverified, and strict=True wants more. {posterior.certificate}",
            posterior,
        )
    return posterior
