"""What comes out of every backend: one posterior, its marginals and its certificate."""

from .answer import Answer, Chains, Draws
from .certificate import Certificate, Check
from .comparison import Comparison
from .joint import Joint, MostProbable
from .marginal import ContinuousMarginal, DrawnMarginal, Marginal, TableMarginal
from .posterior import Posterior
from .posteriors import Posteriors
from .smooth import SmoothMarginal
from .summary import Summary

__all__ = [
    "Answer",
    "Certificate",
    "Chains",
    "Check",
    "Comparison",
    "ContinuousMarginal",
    "DrawnMarginal",
    "Draws",
    "Joint",
    "Marginal",
    "MostProbable",
    "Posterior",
    "Posteriors",
    "SmoothMarginal",
    "Summary",
    "TableMarginal",
]
