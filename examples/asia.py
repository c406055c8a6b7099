"""The chest clinic: what shortness of breath says about three diseases.

A visit to Asia makes tuberculosis likelier, smoking lung cancer and bronchitis. The X-ray cannot tell tuberculosis from cancer: it sees that there is
either. That node is a plain function of its parents, declared as deterministic, and the engine looks through it.

Source: Lauritzen and Spiegelhalter, Local computations with probabilities on graphical structures and their application to expert systems, Journal of
the Royal Statistical Society B, 1988.
"""

from __future__ import annotations

import ppl
from ppl.distributions import Bernoulli

clinic = ppl.Model("clinic")


@clinic.latent
def asia():
    return Bernoulli(0.01)


@clinic.latent
def smoke():
    return Bernoulli(0.5)


@clinic.latent
def tuberculosis(asia):
    return Bernoulli([0.01, 0.05][asia])


@clinic.latent
def lung(smoke):
    return Bernoulli([0.01, 0.1][smoke])


@clinic.latent
def bronchitis(smoke):
    return Bernoulli([0.3, 0.6][smoke])


@clinic.deterministic
def either(tuberculosis, lung):
    return max(tuberculosis, lung)


@clinic.observed
def xray(either):
    return Bernoulli([0.05, 0.98][either])


@clinic.observed
def dyspnoea(either, bronchitis):
    return Bernoulli([[0.1, 0.8], [0.7, 0.9]][either][bronchitis])


#: Nobody in particular, and the paper's two patients.
PATIENTS = {
    "anybody": {},
    "back from Asia, short of breath": {"asia": 1, "dyspnoea": 1},
    "smokes, dark X-ray, short of breath": {"smoke": 1, "xray": 1, "dyspnoea": 1},
}


def diagnosis(patient: str) -> ppl.Posterior:
    """Everything that was not seen of one of the patients."""
    seen = PATIENTS[patient]
    return ppl.infer(clinic, seen, of=[name for name in clinic.graph if name not in seen])


def main() -> None:
    """Print the story, the plan, and a line for each patient."""
    print(clinic, end="\n\n")
    seen = PATIENTS["back from Asia, short of breath"]
    print(ppl.compile(clinic, seen, of=["tuberculosis", "lung", "bronchitis"]), end="\n\n")
    for patient in PATIENTS:
        found = diagnosis(patient)
        said = ", ".join(
            f"{n} {float(found[n].prob(1)):.6f}" for n in ("tuberculosis", "lung", "bronchitis")
        )
        print(f"  {patient:<37} {said}")


if __name__ == "__main__":
    main()
