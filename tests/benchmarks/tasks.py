"""Four tasks of the sbibm benchmark, written with their densities: C2ST against the reference posteriors that it ships (0.5 is perfect).

    python -m tests.benchmarks.tasks [task ...]

Needs `pip install sbibm==1.1.0 --no-deps` for observations and references, and scikit-learn for the classifier: the benchmark's own two-fold test
(Lueckmann et al., Benchmarking simulation-based inference, 2021). Nothing is simulated and nothing is trained.
"""

from __future__ import annotations

import importlib.util
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy
import torch

import ppl
from examples import benchmark_tasks as examples
from ppl.distributions import Bernoulli, MultivariateNormal

warnings.simplefilter("ignore")

#: Draws that are compared.
DRAWS = 5_000


def folder() -> Path:
    """Where sbibm keeps its tasks."""
    found = importlib.util.find_spec("sbibm")
    if found is None or found.origin is None:
        raise SystemExit("sbibm is not installed: pip install sbibm==1.1.0 --no-deps")
    return Path(found.origin).parent / "tasks"


def table(path: Path) -> numpy.ndarray:
    """A file of numbers."""
    return numpy.loadtxt(path, delimiter=",", skiprows=1)  # it opens what is compressed


def told(name: str) -> Callable[[Path, Path], tuple[ppl.Model, dict]]:
    """A task that the examples tell with its density."""

    def one(files: Path, one: Path) -> tuple[ppl.Model, dict]:
        x = table(one / "observation.csv")
        return examples.TASKS[name](), {"x": x.reshape(4, 2) if name == "slcp" else x}

    return one


def bernoulli_glm(files: Path, one: Path) -> tuple[ppl.Model, dict]:
    """A spiking neuron: a hundred coin flips whose odds are a filtered stimulus."""
    size = 9
    step = torch.eye(size) - torch.diag(torch.ones(size - 1), -1)
    rough = step @ step + torch.diag(torch.arange(size) / size) ** 0.5
    precision = torch.zeros(size + 1, size + 1, dtype=torch.float64)
    precision[0, 0] = 0.5
    precision[1:, 1:] = (rough.T @ rough).to(torch.float64)
    design = torch.load(files / "design_matrix.pt").to(torch.float64)
    model = ppl.Model("bernoulli_glm")
    flip = model.plate("flip", len(design))
    model.input("row", plate=flip)
    prior = torch.linalg.inv(precision)
    model.theta(lambda: MultivariateNormal(torch.zeros(size + 1), prior), name="theta")
    model.observed(lambda theta, row: Bernoulli(logits=row @ theta), name="y", plate=flip)
    return model, {"y": table(one / "observation_raw.csv").astype(int), "row": design}


TASKS: dict[str, Callable] = {
    "gaussian_linear": told("gaussian_linear"),
    "gaussian_mixture": told("gaussian_mixture"),
    "bernoulli_glm": bernoulli_glm,
    "slcp": told("slcp"),
}


def c2st(one: numpy.ndarray, other: numpy.ndarray) -> float:
    """Accuracy of a classifier that tells two sets of draws apart."""
    from sklearn.model_selection import KFold, cross_val_score
    from sklearn.neural_network import MLPClassifier

    mean, sd = one.mean(axis=0), one.std(axis=0)
    x = numpy.concatenate([(one - mean) / sd, (other - mean) / sd])
    y = numpy.repeat([0, 1], [len(one), len(other)])
    width = 10 * x.shape[1]
    net = MLPClassifier((width, width), max_iter=1000, random_state=1)
    return float(cross_val_score(net, x, y, cv=KFold(2, shuffle=True, random_state=1)).mean())


def main() -> None:
    """Print a line for each task."""
    print(
        f"{'task':<18} {'route':<11} {'seconds':>8} {'grades':<12} {'C2ST, ten observations':<80} mean"
    )
    for name in sys.argv[1:] or TASKS:
        files = folder() / name / "files"
        scores, seconds, grades, method = [], [], "", ""
        for number in range(1, 11):
            one = files / f"num_observation_{number}"
            reference = table(one / "reference_posterior_samples.csv.bz2")[:DRAWS]
            begun = time.perf_counter()
            found = ppl.infer(*TASKS[name](files, one), of="theta")
            draws = found.sample(DRAWS)["theta"].numpy()
            seconds.append(time.perf_counter() - begun)
            scores.append(c2st(reference, draws))
            grades += found.certificate.grade
            method = found.method
        shown = " ".join(f"{s:.3f}" for s in scores)
        median = sorted(seconds)[len(seconds) // 2]
        print(
            f"{name:<18} {method:<11} {median:8.1f} {grades:<12} {shown:<80} {numpy.mean(scores):.4f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
