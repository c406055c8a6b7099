"""What comes out of every backend: one posterior, its marginals and its certificate."""

from .answer import Answer, Draws
from .certificate import Certificate
from .joint import Joint, MostProbable
from .marginal import DrawnMarginal, Marginal, TableMarginal
from .posterior import Posterior
from .posteriors import Posteriors

__all__ = [
    "Answer",
    "Certificate",
    "DrawnMarginal",
    "Draws",
    "Joint",
    "Marginal",
    "MostProbable",
    "Posterior",
    "Posteriors",
    "TableMarginal",
]
