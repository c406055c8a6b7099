"""Simulators of five sbibm tasks, a row of data for each row of parameters, in torch alone so that any peer's interpreter can import them.

Source: Lueckmann et al., Benchmarking simulation-based inference, 2021 (https://arxiv.org/abs/2101.04653), appendix T.
"""

from __future__ import annotations

import importlib.util
import math
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

__all__ = [
    "BOXES",
    "files",
    "gaussian_linear",
    "gaussian_mixture",
    "simulate",
    "slcp_point",
    "spikes",
    "spikes_precision",
    "two_moons",
]

#: Tasks whose prior is uniform on (-bound, bound)^dimensions: dimensions and bound.
BOXES = {"two_moons": (2, 1.0), "gaussian_mixture": (2, 10.0), "slcp": (5, 3.0)}


def simulate(task: str, theta: Tensor) -> Tensor:
    """Data as one flat row for each row of `theta`, for those who know no plates."""
    if task == "slcp":
        return torch.cat([slcp_point(theta) for _ in range(4)], dim=1)
    return {"two_moons": two_moons, "gaussian_mixture": gaussian_mixture}[task](theta)


def two_moons(theta: Tensor) -> Tensor:
    """A point on a crescent that is shifted by two sums of θ: two modes, each a crescent."""
    n, dtype = len(theta), theta.dtype
    angle = (torch.rand(n, dtype=dtype) - 0.5) * math.pi
    radius = 0.1 + 0.01 * torch.randn(n, dtype=dtype)
    across = -((theta[:, 0] + theta[:, 1]) * math.sqrt(0.5)).abs()
    along = (theta[:, 1] - theta[:, 0]) * math.sqrt(0.5)
    return torch.stack([angle.cos() * radius + 0.25 + across, angle.sin() * radius + along], dim=1)


def gaussian_mixture(theta: Tensor) -> Tensor:
    """A mean seen through one of two noise levels."""
    narrow = torch.rand(len(theta), 1) < 0.5
    return theta + torch.where(narrow, 1.0, 0.1) * torch.randn_like(theta)


def slcp_point(theta: Tensor) -> Tensor:
    """One of the four points of SLCP: a Gaussian in the plane whose scales enter squared."""
    one, two, rho = theta[:, 2] ** 2, theta[:, 3] ** 2, torch.tanh(theta[:, 4])
    e = torch.randn(len(theta), 2, dtype=theta.dtype)
    other = rho * e[:, 0] + (1 - rho**2).sqrt() * e[:, 1]
    return torch.stack([theta[:, 0] + one * e[:, 0], theta[:, 1] + two * other], dim=1)


def gaussian_linear(theta: Tensor) -> Tensor:
    """Ten means, one observation each, variance 0.1."""
    return theta + math.sqrt(0.1) * torch.randn_like(theta)


def spikes(theta: Tensor) -> Tensor:
    """A spiking neuron (bernoulli_glm): the number of spikes, and the stimulus averaged before them."""
    design, stimulus = (
        torch.load(files("bernoulli_glm") / name).to(theta.dtype)
        for name in ("design_matrix.pt", "stimulus_I.pt")
    )
    spiked = (torch.rand(len(theta), len(design)) < torch.sigmoid(theta @ design.T)).to(theta.dtype)
    average = torch.nn.functional.conv1d(
        spiked.unsqueeze(1), stimulus.reshape(1, 1, -1), padding=8
    )[:, 0, -9:]
    return torch.cat([spiked.sum(dim=1, keepdim=True), average], dim=1)


def spikes_precision() -> Tensor:
    """The precision of the Gaussian prior of bernoulli_glm, `(10, 10)`: the filter is smooth."""
    size = 9
    step = torch.eye(size) - torch.diag(torch.ones(size - 1), -1)
    rough = step @ step + torch.diag(torch.arange(size) / size) ** 0.5
    precision = torch.zeros(size + 1, size + 1, dtype=torch.float64)
    precision[0, 0] = 0.5
    precision[1:, 1:] = (rough.T @ rough).to(torch.float64)
    return precision


@cache
def files(task: str) -> Path:
    """Where sbibm keeps the observations and reference posteriors of a task."""
    found = importlib.util.find_spec("sbibm")
    if found is None or found.origin is None:
        raise SystemExit("sbibm is not installed: pip install sbibm==1.1.0 --no-deps")
    return Path(found.origin).parent / "tasks" / task / "files"
