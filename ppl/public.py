"""The public names, in one place: what `import ppl` offers.

`ppl` itself loads this file when the first of the names is used, so that `galton --help` need not wait for the tensor library.
"""

from . import distributions
from .compiler import Budget, Method, Plan, compile, load
from .dsl import Model, model
from .errors import (
    BackendError,
    DistributionError,
    FormatError,
    GaltonError,
    ImpossibleError,
    ModelError,
    QueryError,
    SimulationError,
    StoreError,
    StoreLocked,
    UnverifiedError,
)
from .fitting import fit
from .formats import read, write
from .graph import previous
from .inference import infer
from .mechanism import Belief, Likelihood
from .posterior import Posterior

__all__ = [
    "BackendError",
    "Belief",
    "Budget",
    "DistributionError",
    "FormatError",
    "GaltonError",
    "ImpossibleError",
    "Likelihood",
    "Method",
    "Model",
    "ModelError",
    "Plan",
    "Posterior",
    "QueryError",
    "SimulationError",
    "StoreError",
    "StoreLocked",
    "UnverifiedError",
    "compile",
    "distributions",
    "fit",
    "infer",
    "load",
    "model",
    "previous",
    "read",
    "write",
]
