"""Summaries: a posterior as a table, of plain text, for a notebook, or as data.

Exact numbers are printed to a few digits, others to as many as their Monte-Carlo error leaves.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..errors import QueryError, closest
from ..html import table
from .figures import aligned, bars, entries, few, number, numbers
from .marginal import Marginal, checked

if TYPE_CHECKING:
    from .posterior import Posterior

__all__ = ["Summary", "describe", "of_marginal", "summary"]

#: Members of a plate that are printed.
MOST_MEMBERS = 8
#: What a marginal says on one line.
LEVEL = 0.95


@dataclass(frozen=True, eq=False)
class Summary:
    """What a posterior says about each number: `print` it, show it in a notebook, or take `rows`.

    Args:
        title: What it is a summary of.
        marginals: By node.
        level: The probability that the interval holds.
        interval: `"hdi"`, the shortest interval, or `"central"`.
        quantiles: Which quantiles.
        facts: What else is known: the log-evidence, the grade.
        below: Lines under the table.
    """

    title: str
    marginals: Mapping[str, Marginal]
    level: float = LEVEL
    interval: str = "hdi"
    quantiles: tuple[float, ...] = (0.05, 0.5, 0.95)
    facts: Mapping[str, Any] | None = None
    below: tuple[str, ...] = ()

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """A dictionary for each number: `name` (as `z[3]`), `node`, `at` (its coordinates), `exact`, and then

        - of a finite node with few values `probs`, by label or value;
        - of what has numbers for values `mean`, `sd`, `low`, `high` (the interval) and `quantiles`;
        - of draws also `ess` and of chains `rhat`.

        `errors` are the Monte-Carlo standard errors of these figures, zero where there is none.
        """
        return [row for m in self.marginals.values() for row in self._of(m, None)[0]]

    def _of(self, marginal: Marginal, most: int | None) -> tuple[list[dict[str, Any]], int]:
        """The rows of one node, and how many were left out."""
        where = entries(marginal)
        some = where[:most]
        row = bars if few(marginal) else numbers
        found = row(marginal, some, self.level, self.interval, self.quantiles)
        return found, len(where) - len(some)

    def _shown(self) -> tuple[list[str], list[list[str]]]:
        """The titles of the columns, and the cells of the rows that are printed."""
        rows: list[dict[str, Any]] = []
        for name, marginal in self.marginals.items():
            found, more = self._of(marginal, MOST_MEMBERS)
            rows += found
            if more:
                rows.append({"name": f"{name}[…]", "more": more})
        ess, rhat = (any(key in row for row in rows) for key in ("ess", "rhat"))
        head = ["mean", "sd", self._span]
        head += [f"{100 * q:g}%" for q in self.quantiles]
        head += ["ESS"] * ess + ["R-hat"] * rhat
        wide = any("mean" in row and "probs" not in row for row in rows)
        return ["", *head] if wide else ["", ""], [self._cells(row, ess, rhat) for row in rows]

    def _cells(self, row: Mapping[str, Any], ess: bool, rhat: bool) -> list[str]:
        if "more" in row:
            return [row["name"], f"{row['more']:,} more"]
        told = self.figures(row)
        if "probs" in row:
            return [row["name"], ", ".join(f"{value} {p}" for value, p in told.items())]
        cells = [row["name"], *(told[k] for k in ("mean", "sd")), told.get(self._span, "")]
        cells += [told[f"{100 * q:g}%"] for q in row["quantiles"]]
        cells += [told.get("ESS", "")] * ess + [told.get("R-hat", "")] * rhat
        return cells

    @property
    def _span(self) -> str:
        """The title of the interval's column."""
        return f"{100 * self.level:g}% {'HDI' if self.interval == 'hdi' else 'interval'}"

    def figures(self, row: Mapping[str, Any]) -> dict[str, str]:
        """The figures of a row as text, with no digit beyond what is known: probabilities by value, or figures by column, as far as they mean
        something."""
        if "probs" in row:
            size, masses = row.get("ess"), row["probs"].items()
            if size is None:
                return {str(value): number(p, 0.0) for value, p in masses}
            return {
                str(v): number(p, max((p * (1 - p) / size) ** 0.5, 1 / size)) for v, p in masses
            }
        errors = row["errors"]
        mean = number(row["mean"], errors["mean"], 6)
        if errors["mean"] > 0:
            mean += f" ± {errors['mean']:.1g}"
        told = {"mean": mean, "sd": number(row["sd"], errors["sd"])}
        if row["low"] is not None:
            ends = [number(row[end], errors[end]) for end in ("low", "high")]
            told[self._span] = f"[{', '.join(ends)}]"
        told |= {
            f"{100 * q:g}%": number(v, errors["quantiles"][q]) for q, v in row["quantiles"].items()
        }
        told |= {"ESS": f"{row['ess']:,.0f}"} if row.get("ess") is not None else {}
        return told | ({"R-hat": f"{row['rhat']:.3f}"} if row.get("rhat") is not None else {})

    def __str__(self) -> str:
        head, rows = self._shown()
        lines = [self.title, *aligned([head] * (len(head) > 2) + rows)]
        return "\n".join([*lines, *(f"  {line}" for line in self.below)])

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        head, rows = self._shown()
        return table(head, rows, self.title, self.below)

    def to_dict(self) -> dict[str, Any]:
        """The summary as plain data, ready for JSON: `title`, `level`, `interval`, `rows`, and what else is known."""
        rows = []
        for row in self.rows:
            plain = {k: v for k, v in row.items() if k != "errors"} | {"at": list(row["at"])}
            if "probs" in row:
                plain["probs"] = {str(k): v for k, v in row["probs"].items()}
            if "quantiles" in row:
                plain["quantiles"] = {f"{q:g}": v for q, v in row["quantiles"].items()}
            rows.append(plain)
        told = {"title": self.title, "level": self.level, "interval": self.interval}
        return {**told, "rows": rows, **(self.facts or {})}

    def to_pandas(self) -> Any:
        """The summary as a `pandas.DataFrame`: a row for each number, NaN where a column means nothing.

        Raises:
            BackendError: If pandas is not installed.
        """
        from .exported import library

        pandas = library("pandas", "to_pandas()")
        rows = []
        for row in self.rows:
            flat = {k: v for k, v in row.items() if not isinstance(v, dict | tuple)}
            flat |= {f"{100 * q:g}%": v for q, v in row.get("quantiles", {}).items()}
            flat |= {f"p({v})": p for v, p in row.get("probs", {}).items()}
            rows.append(flat)
        return pandas.DataFrame(rows).set_index("name").drop(columns="node")


def summary(
    posterior: Posterior,
    names: Collection[str] = (),
    *,
    level: float = LEVEL,
    interval: str = "hdi",
    quantiles: Sequence[float] = (0.05, 0.5, 0.95),
) -> Summary:
    """The summary of a posterior, or of some of its nodes; see `Posterior.summary`."""
    chosen(level, interval, quantiles)
    marginals = {name: posterior[name] for name in names or posterior}
    evidence = getattr(posterior, "log_evidence", None) if posterior.data.observed else None
    certificate = posterior.certificate
    below = [] if evidence is None else [f"log-evidence {evidence:.6g}"]
    below += str(certificate).splitlines()
    below += [f"note: {note}" for note in posterior.notes]
    facts = {
        "method": posterior.method,
        "log_evidence": evidence,
        "grade": certificate.grade,
        "notes": list(posterior.notes),
    }
    title = f"posterior of {posterior.graph.name} by {posterior.method}"
    return Summary(title, marginals, level, interval, tuple(quantiles), facts, tuple(below))


def chosen(level: float, interval: str, quantiles: Sequence[float]) -> None:
    """Whether a summary can be made so.

    Raises:
        QueryError: If not.
    """
    checked(level, "summary, level=")
    if interval not in ("hdi", "central"):
        raise QueryError(
            f"summary: interval={interval!r}.{closest(str(interval), ['hdi', 'central'])}"
        )
    for q in quantiles:
        if not 0 <= q <= 1:
            raise QueryError(f"summary: a quantile is between 0 and 1, and {q!r} is not.")


def of_marginal(marginal: Marginal) -> Summary:
    """The summary of one node."""
    how = "exact" if marginal.exact else "approximate"
    return Summary(f"{marginal.name} ({how})", {marginal.name: marginal})


def describe(marginal: Marginal) -> str:
    """One marginal on one line, or a line a member."""
    how = "exact" if marginal.exact else "approximate"
    said = Summary("", {marginal.name: marginal}, LEVEL, "central", ())
    lines = []
    for cells in said._shown()[1]:
        text = cells[1]
        if len(cells) > 2:
            text = f"mean {cells[1]}  sd {cells[2]}" + (f"  95% {cells[3]}" if cells[3] else "")
        lines.append((cells[0], text))
    if len(lines) == 1:
        return f"{lines[0][0]}: {lines[0][1]} ({how})"
    return "\n".join([f"{marginal.name} ({how})", *(f"  {label}: {text}" for label, text in lines)])
