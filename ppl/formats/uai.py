"""UAI, the format of the inference competitions: a Bayesian network as bare numbers, and `.evid`, the evidence beside it.

References:
    | https://uaicompetition.github.io/uci-2022/file-formats/
"""

from __future__ import annotations

import re

import numpy

from ..errors import FormatError
from .network import Family, Network, room
from .text import Text

__all__ = ["parse", "parse_evidence", "write", "write_evidence"]

#: Words of a line.
TOKEN = re.compile(r"\S+")


class _Words:
    """The words of a file, one after the other."""

    def __init__(self, text: Text):
        self.text = text
        self._position = 0

    def next(self, what: str) -> str:
        found = TOKEN.search(self.text.text, self._position)
        if found is None:
            raise FormatError(
                f"{self.text.name}: the file ends where {what} should be; is it truncated?"
            )
        self.start, self._position = found.start(), found.end()
        return found[0]

    def whole(self, what: str, low: int = 0, high: int | None = None) -> int:
        word = self.next(what)
        # Longer numbers are no counts, and Python is slow in reading them.
        number = int(word) if re.fullmatch(r"\d{1,18}", word) else -1
        if number < low or (high is not None and number >= high):
            bounds = f"at least {low}" if high is None else f"from {low} to {high - 1}"
            raise self.error(
                f"{what} is a whole number {bounds}; found {word[:40]!r}."
                if high is None or high > low
                else f"{what}: there is nothing to name."
            )
        return number

    def numbers(self, count: int, owner: str) -> list[float]:
        words = []
        first = None
        for _ in range(count):
            words.append(self.next(f"the {count} entries of {owner}"))
            first = self.start if first is None else first
        return self.text.probabilities(words, first or 0, owner)

    def error(self, message: str) -> FormatError:
        return self.text.error(self.start, message)

    def ended(self) -> None:
        found = TOKEN.search(self.text.text, self._position)
        if found is not None:
            raise self.text.error(
                found.start(), f"unexpected {found[0][:40]!r} after the last table."
            )

    def left(self) -> int:
        return len(self.text.text) - self._position


def parse(text: Text) -> Network:
    """The network of a UAI file of type BAYES; variables are `x0`, `x1`, …, states `0`, `1`, …

    Raises:
        FormatError: With line and variable, where the text is not UAI.
    """
    words = _Words(text)
    kind = words.next("the type of network")
    if kind != "BAYES":
        raise words.error(
            "a MARKOV network has no directions, so it is no generative model; only BAYES can be read."
            if kind == "MARKOV"
            else f"a UAI file begins with BAYES or MARKOV; found {kind[:40]!r}."
        )
    # No count can exceed the words that the file has room for.
    count = words.whole("the number of variables", 1, len(text.text))
    cards = [words.whole(f"the number of states of x{i}", 1) for i in range(count)]
    tables = words.whole("the number of tables", 0, len(text.text))
    network = Network(text.name.partition(".")[0])
    scopes = []
    owner: dict[int, str] = {}
    for f in range(tables):
        size = words.whole(f"the size of table {f}'s scope", 1, count + 1)
        scope = [words.whole(f"a variable of table {f}", 0, count) for _ in range(size)]
        where = text.where(words.start)
        if len(set(scope)) < size:
            raise FormatError(f"{where}: table {f} names one variable twice.")
        if scope[-1] in owner:
            raise FormatError(
                f"{where}: table {f} is a second table of x{scope[-1]} (the last variable of a scope is the child)."
            )
        owner[scope[-1]] = where
        scopes.append((scope, where))
    for v in range(count):
        if v not in owner:
            raise FormatError(f"{text.name}: x{v} is the last variable of no table's scope.")
    for v, card in enumerate(cards):
        # The labels of a variable are made only when its table's entries can be in the file.
        if card > len(text.text):
            raise FormatError(
                f"{text.name}: x{v} has {card:,} states and the file no room for them."
            )
        network.labels[f"x{v}"] = tuple(map(str, range(card)))
    for scope, where in scopes:
        name, sizes = f"x{scope[-1]}", [cards[v] for v in scope]
        cells = room(sizes, name, where)
        announced = words.whole(f"the number of entries of the table of {name}", 0)
        if announced != cells:
            raise words.error(
                f"the table of {name} announces {announced} entries; its scope has {cells}."
            )
        if 2 * cells - 1 > words.left():
            raise FormatError(
                f"{where}: the table of {name} needs {cells} entries; the file ends before."
            )
        table = numpy.array(words.numbers(cells, name)).reshape(sizes)
        network.families[name] = Family(tuple(f"x{v}" for v in scope[:-1]), table, where)
    words.ended()
    return network


def parse_evidence(text: Text) -> list[dict[str, int]]:
    """The observations of an `.evid` file, of either convention: with a first line that counts them, or one alone.

    Raises:
        FormatError: If the counts do not fit.
    """
    words = _Words(text)
    tokens: list[int] = []
    while words.left() and TOKEN.search(text.text, words._position):
        tokens.append(words.whole("evidence"))
    if not tokens:
        return [{}]
    one = _samples([1, *tokens]) if len(tokens) == 1 + 2 * tokens[0] else None
    found = one or _samples(tokens)
    if found is None:
        raise FormatError(
            f"{text.name}: the counts do not fit; an observation is its number of variables and then pairs of variable and state."
        )
    return found


def _samples(tokens: list[int]) -> list[dict[str, int]] | None:
    count, at, found = tokens[0], 1, []
    while at < len(tokens):
        pairs = tokens[at + 1 : at + 1 + 2 * tokens[at]]
        if len(pairs) < 2 * tokens[at]:
            return None
        found.append({f"x{v}": s for v, s in zip(pairs[::2], pairs[1::2], strict=True)})
        at += 1 + len(pairs)
    return found if len(found) == count else None


def write(network: Network) -> str:
    """The network as UAI text; names and labels are lost, their order is kept."""
    number = {name: i for i, name in enumerate(network.labels)}
    cards = " ".join(str(len(labels)) for labels in network.labels.values())
    lines = ["BAYES", str(len(number)), cards, str(len(number))]
    for name in number:
        scope = [number[p] for p in network.families[name].parents] + [number[name]]
        lines.append(" ".join(map(str, [len(scope), *scope])))
    for name in number:
        table = network.families[name].table
        lines += ["", str(table.size)]
        lines += [
            " " + " ".join(map(repr, row)) for row in table.reshape(-1, table.shape[-1]).tolist()
        ]
    return "\n".join(lines) + "\n"


def write_evidence(network: Network, observation: dict[str, int]) -> str:
    """One observation as `.evid` text: how many variables, then pairs of variable and state."""
    number = {name: i for i, name in enumerate(network.labels)}
    pairs = [f"{number[name]} {state}" for name, state in observation.items()]
    return " ".join([str(len(pairs)), *pairs]) + "\n"
