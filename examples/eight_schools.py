"""Eight schools: how much do eight coaching effects have in common?

Each school reports the effect of its coaching on test scores, and a standard error. A mean and a spread tie them together. Where the spread is near
zero, all effects are: the posterior is a funnel, in which samplers get stuck. The engine writes the effects as mean plus spread times noise by itself.

Source: Rubin, Estimation in parallel randomized experiments, Journal of Educational Statistics, 1981; the priors and reference draws of posteriordb
(`eight_schools-eight_schools_centered`).
"""

from __future__ import annotations

from typing import Any

import ppl
from ppl.distributions import HalfCauchy, Normal

EFFECTS = [28, 8, -3, 7, -1, 1, 18, 12]
ERRORS = [15, 10, 16, 11, 9, 11, 10, 18]
SEEN: dict[str, Any] = {"y": EFFECTS, "error": ERRORS}


@ppl.model
def eight_schools(model):
    """Coaching effects in eight schools."""
    school = model.plate("school", 8)
    model.input("error", plate=school)

    @model.theta
    def mu():
        """The mean effect."""
        return Normal(0, 5)

    @model.theta
    def tau():
        """How much the effects differ."""
        return HalfCauchy(5)

    @model.latent(plate=school)
    def effect(mu, tau):
        return Normal(mu, tau)

    @model.observed(plate=school)
    def y(effect, error):
        return Normal(effect, error)


def posterior(seed: int = 0) -> ppl.Posterior:
    """Mean, spread and all effects by the route that the compiler chooses."""
    return ppl.infer(eight_schools(), SEEN, of=["mu", "tau", "effect"], seed=seed)


def main() -> None:
    """Print the story, the plan and the answer."""
    print(eight_schools(), end="\n\n")
    found = posterior()
    print(found.plan, end="\n\n")
    print(found.summary())


if __name__ == "__main__":
    main()
