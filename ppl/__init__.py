"""Galton: write the model once; the compiler finds the inference.

A generative model is written as small decorated functions, which are an explicit DAG. `compile` decides how a question is answered and
says why; `infer` answers it.
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
from .fit import fit
from .formats import read, write
from .graph import previous
from .infer import infer
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
