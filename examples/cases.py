"""The cases of the gallery: published models with their reference numbers, each answered as its page answers it.

Numbers are those of the sources, or computed twice independently where a source says nothing; `docs/gallery.md` tells what each case is about.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import partial

import ppl

from . import answers, asia, burglary, flu_1978, galton_board, island
from .case import Case, Reference, about, at_most, digits

__all__ = ["CASES", "named"]

#: How far the distribution functions of a learned posterior may be from the true ones, in any direction; two equal sets of 5,000 draws are 0.03 apart.
NEAR = 0.08


def named(names: Iterable[str]) -> list[Case]:
    """The cases of these names, or whose names begin so, in the gallery's order.

    Raises:
        ppl.QueryError: If a name fits no case.

    Example:
        >>> [case.name for case in named(["asia", "kidney"])]
        ['asia', 'kidney-stones']
    """
    wanted = list(names)
    for name in wanted:
        if not any(case.name.startswith(name) for case in CASES):
            known = [case.name for case in CASES]
            raise ppl.QueryError(
                f"There is no case '{name}'.{ppl.errors.closest(name, known)} There are {', '.join(known)}."
            )
    return [case for case in CASES if any(case.name.startswith(name) for name in wanted)]


# -- what is known --------------------------------------------------------------------------------

FORWARDS = (
    "0.00110 0.00654 0.01874 0.03522 0.05012 0.05920 0.06219 0.06135 0.05937 0.05828 0.05927 "
    "0.06279 0.06862 0.07552 0.08085 0.08053 0.07064 0.05091 0.02750 0.00966 0.00162"
)
BREHMER = "Brehmer, Louppe, Pavez, Cranmer, PNAS 2020"
LUECKMANN = "Lueckmann et al., AISTATS 2021"
BNLEARN = "bnlearn repository, M. Scutari"
#: log2 of the cells of a good order.
COSTS = {
    "asia": 5.5,
    "child": 9.4,
    "alarm": 10.3,
    "win95pts": 11.8,
    "hailfinder": 13.4,
    "insurance": 16.4,
    "pigs": 19.7,
}
SIZES = {
    "asia": 8,
    "child": 20,
    "alarm": 37,
    "win95pts": 76,
    "hailfinder": 56,
    "insurance": 27,
    "pigs": 441,
}
ANYBODY, TRAVELLER, SMOKER = asia.PATIENTS

CASES: tuple[Case, ...] = (
    Case(
        "galton-forwards",
        "where a ball of a skewed board ends",
        "galton_board",
        BREHMER,
        answers.board_forwards,
        {f"p(x = {x})": digits(p, 0.6) for x, p in zip(range(5, 26), FORWARDS.split(), strict=True)}
        | {"mean": digits("15.58306"), "sd": digits("4.51850")},
        "exact",
    ),
    Case(
        "galton-one",
        "the slope of the board, from one ball",
        "galton_board",
        BREHMER,
        partial(answers.board, [22]),
        {
            "mean": digits("-1.3541"),
            "sd": digits("0.4399"),
            # The ends of the interval are of a grid.
            "2.5 %": digits("-1.974", 1.5),
            "97.5 %": digits("-0.417", 1.5),
            "log-evidence": digits("-3.4765"),
        },
        "quadrature",
    ),
    Case(
        "galton-twenty",
        "the slope of the board, from twenty balls",
        "galton_board",
        BREHMER,
        partial(answers.board, galton_board.TWENTY_BALLS),
        {
            "mean": digits("-0.6145"),
            "sd": digits("0.1716"),
            "2.5 %": digits("-0.991", 1.5),
            "97.5 %": digits("-0.317", 1.5),
            "log-evidence": digits("-55.9793"),
        },
        "quadrature",
    ),
    Case(
        "galton-matched",
        "one ball of a simulator: matched",
        "galton_board",
        BREHMER,
        partial(answers.board_learned, None),
        {"total variation": at_most(0.06), **about(-1.3541, 0.4399, name="mean")},
        "rejection",
    ),
    *(
        Case(
            f"galton-{method}",
            f"one ball of a simulator: learned by {method}",
            "galton_board",
            BREHMER,
            partial(answers.board_learned, method),
            {"total variation": at_most(0.06)},
            method,
        )
        for method in ("npe", "nle")
    ),
    Case(
        "burglary",
        "a burglar, an earthquake and two neighbours",
        "burglary",
        "Pearl 1988; Russell and Norvig",
        answers.burglars,
        {
            text: digits(p)
            for text, p in zip(
                [question[0] for question in burglary.QUESTIONS],
                ["0.284172", "0.016284", "0.176067", "0.373551", "0.001000"],
                strict=True,
            )
        },
        "exact",
    ),
    Case(
        "sprinkler",
        "seeing a sprinkler and turning it on",
        "sprinkler",
        "Murphy 2001",
        answers.gardens,
        {
            "P(wet)": digits("0.6471"),
            "P(sprinkler | wet)": digits("0.429764"),
            "P(rain | wet)": digits("0.707928"),
            "P(sprinkler | wet, rain)": digits("0.194499"),
            "P(rain | sprinkler on)": digits("0.300000"),
            "P(rain | do(sprinkler on))": digits("0.500000"),
            "P(rain | wet, do(sprinkler on))": digits("0.523810"),
        },
        "exact",
    ),
    Case(
        "asia",
        "the chest clinic",
        "asia",
        "Lauritzen and Spiegelhalter 1988",
        answers.patients,
        {
            f"tuberculosis, {ANYBODY}": digits("0.0104"),
            f"lung, {ANYBODY}": digits("0.055"),
            f"bronchitis, {ANYBODY}": digits("0.45"),
            f"either, {ANYBODY}": digits("0.064828"),
            f"xray, {ANYBODY}": digits("0.11029"),
            f"dyspnoea, {ANYBODY}": digits("0.435971"),
            f"tuberculosis, {TRAVELLER}": digits("0.087751"),
            f"lung, {TRAVELLER}": digits("0.099525"),
            f"bronchitis, {TRAVELLER}": digits("0.811402"),
            f"smoke, {TRAVELLER}": digits("0.625920"),
            f"tuberculosis, {SMOKER}": digits("0.075266"),
            f"lung, {SMOKER}": digits("0.723714"),
            f"bronchitis, {SMOKER}": digits("0.713706"),
        },
        "exact",
    ),
    *(
        Case(
            f"network-{name}",
            f"all {SIZES[name]} marginals of {name}",
            "networks",
            BNLEARN,
            partial(answers.network, name),
            {
                "log2 of cells": at_most(cost + 0.5),
                "marginals": Reference(SIZES[name]),
                # The largest of thousands of standardised gaps, of rare states among them.
                "from simulation": at_most(6.0),
            },
            "exact",
        )
        for name, cost in COSTS.items()
    ),
    Case(
        "kidney-stones",
        "Simpson's paradox",
        "kidney_stones",
        "Charig et al., BMJ 1986",
        answers.stones,
        {
            "P(recovered | A)": digits("0.780"),
            "P(recovered | B)": digits("0.826"),
            "P(recovered | do(A))": digits("0.8325"),
            "P(recovered | do(B))": digits("0.7789"),
        },
        "exact",
    ),
    Case(
        "flu-equation",
        "influenza as a differential equation",
        "flu_1978",
        "BMJ 1978; Grinsztajn et al., Stat. Med. 2021",
        answers.flu,
        {
            **about(1.735, 0.053, 0.0005, "infection"),
            **about(0.542, 0.045, 0.0005, "recovery"),
            **about(3.22, 0.28, 0.005, "reproduction"),
            **about(1.86, 0.16, 0.005, "recovery_time"),
        },
        "nuts",
    ),
    Case(
        "flu-chain",
        "influenza as a chain of infections",
        "flu_1978",
        "BMJ 1978",
        answers.stochastic_flu,
        # Fourteen numbers that the model fits badly, and 4,000 simulations: an answer within two true sds, up to twice as wide.
        {f"{name} off, in sds": at_most(2.0) for name in flu_1978.CHAIN}
        | {f"width of {name}": Reference(1.35, slack=0.65) for name in flu_1978.CHAIN},
        "apt",
        slow=True,
    ),
    Case(
        "hidden-markov",
        "two levels and a hidden switch",
        "hidden_markov",
        "posteriordb, hmm_example",
        answers.chain,
        # The reference draws have a standard error of a hundredth of an sd.
        {
            **about(0.66665, 0.1012, 0.001, "stay"),
            **about(0.07313, 0.0284, 0.0003, "leave"),
            **about(3.0215, 0.224, 0.002, "low"),
            **about(8.8273, 0.111, 0.001, "high"),
        },
        "nuts",
    ),
    Case(
        "eight-schools",
        "eight coaching effects",
        "eight_schools",
        "Rubin 1981; posteriordb",
        answers.schools,
        {
            **about(4.411, 3.31, 0.033, "mu"),
            **about(3.602, 3.20, 0.032, "tau"),
            "first": Reference(6.151, 0.06),
            "fifth": Reference(3.614, 0.05),
        },
        "nuts",
    ),
    Case(
        "moving-average",
        "MA(2) with its likelihood",
        "moving_average",
        "Marin et al. 2012; ELFI's tutorial",
        answers.averages,
        {
            "first": digits("0.525"),
            "sd of first": digits("0.093"),
            "second": digits("0.306"),
            "sd of second": digits("0.120"),
        },
        "quadrature",
    ),
    Case(
        "moving-average-abc",
        "MA(2) by two autocovariances",
        "moving_average",
        "Marin et al. 2012",
        answers.wide_averages,
        {
            # Wider, by between a seventh and twice.
            "sd of first over the exact one": Reference(1.57, slack=0.43),
            "sd of second over the exact one": Reference(1.57, slack=0.43),
        },
        "rejection",
    ),
    Case(
        "linear",
        "ten means, with their density",
        "benchmark_tasks",
        LUECKMANN,
        answers.linear,
        {"mean": Reference(0.0, slack=1e-12), "sd": Reference(math.sqrt(0.05), slack=1e-12)},
        "closed",
    ),
    Case(
        "mixture",
        "two noise levels, with their density",
        "benchmark_tasks",
        LUECKMANN,
        answers.mixture,
        {
            "first": Reference(1.5, slack=1e-6),
            "sd of first": Reference(math.sqrt(0.505), slack=1e-6),
            "second": Reference(-3.0, slack=1e-6),
            "sd of second": Reference(math.sqrt(0.505), slack=1e-6),
        },
        "quadrature",
    ),
    Case(
        "slcp",
        "four modes, with their density",
        "benchmark_tasks",
        f"{LUECKMANN}; importance sampling with 350,000 effective draws",
        answers.complex_posterior,
        {
            **about(0.485, 0.686, 0.004, "θ1"),
            **about(-2.429, 0.667, 0.004, "θ2"),
            **about(1.081, 0.357, 0.003, "θ3"),
            **about(1.196, 0.399, 0.003, "θ4"),
            **about(0.460, 0.852, 0.005, "θ5"),
        },
        "nuts",
        slow=True,
    ),
    *(
        Case(
            f"{task.replace('_', '-')}-learned",
            f"{title}, as a simulator",
            "benchmark_tasks",
            LUECKMANN,
            partial(answers.learned, task),
            {"distribution functions apart": at_most(NEAR)},
            "nle",
            slow=task == "slcp",
        )
        for task, title in (
            ("gaussian_linear", "ten means"),
            ("gaussian_mixture", "two noise levels"),
            ("two_moons", "two moons"),
            ("slcp", "four modes"),
        )
    ),
    Case(
        "island",
        "hares, foxes and missing weeks",
        "island",
        "made up for this gallery",
        answers.animals,
        {f"{name}, in posterior sds": at_most(3.0) for name in island.MADE_WITH},
        "npe",
    ),
)
