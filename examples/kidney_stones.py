"""Kidney stones: the treatment that helps more, in every group, and yet succeeds less often.

Open surgery (A) does better than a puncture (B) for small stones and for large ones, and worse in the whole, because doctors gave it to the hard cases.
Conditioning on a treatment asks what its patients were like; `do` asks what it does.

Source: Charig, Webb, Payne and Wickham, Comparison of treatment of renal calculi by open surgery, percutaneous nephrolithotomy, and extracorporeal
shockwave lithotripsy, British Medical Journal, 1986.
"""

from __future__ import annotations

import ppl
from ppl.distributions import Bernoulli

#: (recovered, treated) for small and large stones.
COUNTS = {"A": [(81, 87), (192, 263)], "B": [(234, 270), (55, 80)]}

SMALL = sum(COUNTS[t][0][1] for t in "AB")
LARGE = sum(COUNTS[t][1][1] for t in "AB")
#: Of small stones and of large ones, the share that got treatment B.
GIVEN_B = [COUNTS["B"][0][1] / SMALL, COUNTS["B"][1][1] / LARGE]
RECOVERY = [[done / treated for done, treated in COUNTS[t]] for t in "AB"]

ward = ppl.Model("ward")


@ward.latent
def large():
    """Whether the stone is large."""
    return Bernoulli(LARGE / (SMALL + LARGE))


@ward.latent
def treatment(large):
    """0 is A, open surgery; 1 is B, a puncture."""
    return Bernoulli(GIVEN_B[large])


@ward.observed
def recovered(treatment, large):
    return Bernoulli(RECOVERY[treatment][large])


def recovery(treatment: int, done: bool) -> ppl.Posterior:
    """Recovery where a treatment was seen, or done."""
    if done:
        return ppl.infer(ward.do(treatment=treatment), {}, of="recovered")
    return ppl.infer(ward, {"treatment": treatment}, of="recovered")


def main() -> None:
    """Print the story, what must be adjusted for, and the four probabilities."""
    print(ward, end="\n\n")
    print(ppl.compile(ward.do(treatment=0), {}, of="recovered"), end="\n\n")
    sets = ward.graph.backdoor_sets("treatment", "recovered")
    print(f"  adjust for {' or '.join(', '.join(sorted(s)) for s in sets)}\n")
    for done in (False, True):
        for k, name in enumerate("AB"):
            text = f"P(recovered | {f'do({name})' if done else name})"
            print(f"  {text:<24} {float(recovery(k, done)['recovered'].prob(1)):.4f}")


if __name__ == "__main__":
    main()
