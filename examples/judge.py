"""The judge: every case of the gallery is answered and held against what is known.

    python -m examples.judge                   all cases
    python -m examples.judge galton asia       those whose names begin so
    python -m examples.judge --quick           without those that take more than half a minute
    python -m examples.judge --figures asia    every number, not only the one that is furthest off
    python -m examples.judge --json out.json   the same as data
    python -m examples.judge -j 2              two cases at a time

The exit code is 0 if every case is right, 1 if one is wrong, and 2 if the judge was asked for something that it does not know. An error of 1 is what is
allowed: half of a printed digit, or four Monte-Carlo standard errors.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from rich.console import Console
from rich.table import Table

import ppl

from .case import Case, Figure, Result, judge
from .cases import CASES, named

__all__ = ["main", "results", "table"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge, print and return the exit code."""
    asked = _parser().parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 160)
    try:
        chosen = named(asked.names) if asked.names else list(CASES)
    except ppl.QueryError as error:
        Console(stderr=True).print(str(error), markup=False)
        return 2
    if asked.quick:
        chosen = [case for case in chosen if not case.slow]
    if asked.json is not None and asked.json.exists() and not asked.force:
        Console(stderr=True).print(
            f"{asked.json} is there already; --force replaces it.", markup=False
        )
        return 2
    begun, found = time.monotonic(), {}
    for result in results(chosen, asked.jobs):
        found[result.case] = result
        if console.is_terminal:
            console.print(f"  {len(found)}/{len(chosen)} {result.case}", end="\r", markup=False)
    ordered = [found[case.name] for case in chosen]
    console.print(table(ordered, asked.figures))
    wrong = [result for result in ordered if not result.right]
    for result in wrong:
        for complaint in result.complaints:
            console.print(f"{result.case}: {complaint}", markup=False, style="red", soft_wrap=True)
    spent = time.monotonic() - begun
    console.print(
        f"{len(ordered) - len(wrong)} of {len(ordered)} cases are right; {spent:.0f} s",
        markup=False,
        highlight=False,
    )
    if asked.json is not None:
        document = {
            "seconds": spent,
            "right": not wrong,
            "cases": [result.to_dict() for result in ordered],
        }
        asked.json.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    return int(bool(wrong))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m examples.judge",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="case", help="a name, or how it begins")
    parser.add_argument("--quick", action="store_true", help="leave slow cases out")
    parser.add_argument("--figures", action="store_true", help="every number of every case")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results as data")
    parser.add_argument("--force", action="store_true", help="replace FILE if it is there")
    parser.add_argument("-j", "--jobs", type=int, default=1, help="cases at a time")
    return parser


def results(cases: Iterable[Case], jobs: int = 1) -> Iterator[Result]:
    """The result of each case, as it comes."""
    if jobs <= 1:
        yield from map(_judged, cases)
        return
    # Workers find a case by its name: its run is a function, and the functions of a test are not theirs.
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        for done in as_completed([pool.submit(_by_name, case.name) for case in cases]):
            yield done.result()


def _by_name(name: str) -> Result:
    return _judged(next(case for case in CASES if case.name == name))


def _judged(case: Case) -> Result:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return judge(case)


def table(found: Iterable[Result], figures: bool = False) -> Table:
    """Results as a table, a line for each case: the number that is furthest off, or all of them.

    Args:
        found: Results, in the order of the lines.
        figures: Whether every number has its line.
    """
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("case", "route", "of", "reference", "answer", "error", "seconds", "grade", ""):
        right = head in ("reference", "answer", "error", "seconds")
        shown.add_column(head, justify="right" if right else "left", no_wrap=head != "of")
    for result in found:
        rows: Sequence[Figure | None] = result.figures if figures else [result.worst]
        verdict = "[green]right[/]" if result.right else "[red]WRONG[/]"
        for k, figure in enumerate(rows or [None]):
            head = [result.case, result.route] if k == 0 else ["", ""]
            tail = [f"{result.seconds:.1f}", result.grade, verdict] if k == 0 else ["", "", ""]
            shown.add_row(*head, *_said(figure), *tail)
    return shown


def _said(figure: Figure | None) -> tuple[str, str, str, str]:
    if figure is None:
        return "", "", "", ""
    answer = f"{figure.answer:.6g}"
    if figure.standard_error:
        answer += f" ± {figure.standard_error:.1g}"
    return figure.name, f"{figure.reference:.6g}", answer, f"{figure.error:.2f}"


if __name__ == "__main__":
    raise SystemExit(main())
