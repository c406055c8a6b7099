"""Laws in closed form: fitted to a log density at a few points, proved at others."""

from .conjugate import CONJUGATE, Conjugate
from .gaussian import GAUSSIAN, Gaussian
from .law import Law, Nowhere, Unfitting
from .marginal import LawMarginal
from .scaled import Scaled

__all__ = [
    "CONJUGATE",
    "GAUSSIAN",
    "Conjugate",
    "Gaussian",
    "Law",
    "LawMarginal",
    "Nowhere",
    "Scaled",
    "Unfitting",
]
