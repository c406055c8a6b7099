"""Pyro's distributions behind a front door.

Lists, arrays and numbers become float64 tensors; probability rows are checked; true zeros stay zero; axes left on one draw's distribution become part of
its event, so that `Normal([0, 0, 0], 1)` is a vector of three.

======================  ============================================================================
finite                  Bernoulli, Categorical, OneHotCategorical, Binomial, BetaBinomial, Integers
counts                  Poisson, ZeroInflatedPoisson, Geometric, NegativeBinomial, NegativeBinomial2
counts of categories    Multinomial, DirichletMultinomial
real                    Normal, StudentT, Cauchy, Laplace, Logistic, Gumbel
positive                LogNormal, HalfNormal, HalfCauchy, Exponential, Gamma, InverseGamma, Chi2,
                        Weibull, Pareto
an interval             Uniform, Beta, VonMises
vectors and matrices    Dirichlet, MultivariateNormal, LKJCholesky
made from others        Truncated, Censored
of one's own            Delta, Density
======================  ============================================================================
"""

from .adopt import adopt
from .bounded import Censored, Truncated
from .counts import (
    BetaBinomial,
    DirichletMultinomial,
    Multinomial,
    NegativeBinomial,
    NegativeBinomial2,
    Poisson,
    ZeroInflatedPoisson,
)
from .density import Density
from .distribution import Distribution, Family
from .families import (
    Beta,
    Cauchy,
    Chi2,
    Dirichlet,
    Exponential,
    Gamma,
    Gumbel,
    HalfCauchy,
    HalfNormal,
    InverseGamma,
    Laplace,
    LKJCholesky,
    Logistic,
    LogNormal,
    MultivariateNormal,
    Normal,
    Pareto,
    StudentT,
    Uniform,
    VonMises,
    Weibull,
)
from .finite import Bernoulli, Binomial, Categorical, Delta, Geometric, Integers, OneHotCategorical

__all__ = [
    "Bernoulli",
    "Beta",
    "BetaBinomial",
    "Binomial",
    "Categorical",
    "Cauchy",
    "Censored",
    "Chi2",
    "Delta",
    "Density",
    "Dirichlet",
    "DirichletMultinomial",
    "Distribution",
    "Exponential",
    "Family",
    "Gamma",
    "Geometric",
    "Gumbel",
    "HalfCauchy",
    "HalfNormal",
    "Integers",
    "InverseGamma",
    "LKJCholesky",
    "Laplace",
    "LogNormal",
    "Logistic",
    "Multinomial",
    "MultivariateNormal",
    "NegativeBinomial",
    "NegativeBinomial2",
    "Normal",
    "OneHotCategorical",
    "Pareto",
    "Poisson",
    "StudentT",
    "Truncated",
    "Uniform",
    "VonMises",
    "Weibull",
    "ZeroInflatedPoisson",
    "adopt",
]
