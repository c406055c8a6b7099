"""BIF, the Bayesian network interchange format (Cozman 1998), as bnlearn and others write it.

References:
    | The Interchange Format for Bayesian Networks (F. Cozman, 1998), with rows for each configuration of the parents
    | and tables in which the last parent runs fastest and the variable itself slowest.
"""

from __future__ import annotations

import re
from itertools import product

import numpy
from numpy import ndarray

from ..errors import FormatError, closest
from .network import Family, Network, index_of, room
from .text import Text

__all__ = ["parse", "write"]

#: A word: quoted, or anything without the signs that mean something.
WORD = r'"[^"\n]*"|[^\s,;|"{}()\[\]]+'
COMMENT = re.compile(r'(?:^|(?<=[\s;{}]))//[^\n]*|/\*.*?\*/|"[^"\n]*"', flags=re.S | re.M)
BLOCK = re.compile(rf"\s*(network|variable|probability)\b\s*(?:({WORD})\s*)?", flags=re.S)
TYPE = re.compile(r"\s*type\s+discrete\s*\[\s*(\d+)\s*\]\s*\{", flags=re.S)
PROPERTY = re.compile(r"\s*property\b[^;{}]*;", flags=re.S)
LIST = re.compile(rf"\s*({WORD})\s*(,|$)", flags=re.S)
ROW = re.compile(r"\s*(?:\(([^()]*)\)|(table|default)\b)\s*(.*)", flags=re.S)
QUOTED = re.compile(r'\s*(?:\(((?:"[^"]*"|[^()"])*)\)|(table|default)\b)\s*(.*)', flags=re.S)
BLANK = re.compile(r"\s*")


def parse(text: Text) -> Network:
    """The network that a BIF text describes.

    Raises:
        FormatError: With line and variable, where the text is not BIF.
    """
    return _Reader(text).read()


class _Reader:
    """Walks over the blocks of a file."""

    def __init__(self, text: Text):
        self.source = text
        if "//" in text.text or "/*" in text.text:
            text = Text(text.name, COMMENT.sub(_blank, text.text))
        self.file, self.text = text, text.text
        self.network = Network(text.name.partition(".")[0])
        self._places: dict[str, dict[str, int]] = {}
        self._lines, self._counted = 1, 0

    def read(self) -> Network:
        position, pending = 0, []
        while True:
            block = BLOCK.match(self.text, position)
            if block is None:
                if self.text[position:].strip():
                    raise self.file.error(
                        self._start(position),
                        f"expected network, variable or probability, found {self.file.found(position)}.",
                    )
                break
            kind, name = block[1], (block[2] or "").strip('"')
            if kind == "probability":
                # Tables wait until every variable is known.
                scope = self._closing(block.end(), "(", ")", "probability")
                brace = self._closing(scope + 1, "{", "}", "probability")
                pending.append((block.end(), scope, brace))
                position = brace + 1
            else:
                end = self._variable(name, block) if kind == "variable" else self._network(block)
                position = end + 1
        if not self.network.labels:
            raise FormatError(f"{self.file.name}: there is no variable in this file.")
        for opening, scope, brace in pending:
            self._probability(opening, scope, brace)
        return self.network

    # -- blocks ----------------------------------------------------------------------------------

    def _start(self, position: int) -> int:
        """The first position that is not blank."""
        return BLANK.match(self.text, position).end()  # type: ignore[union-attr]

    def _closing(self, position: int, opening: str, closing: str, owner: str) -> int:
        """Where the bracket that should open here closes."""
        here = self._start(position) if self.text[position : position + 1] != opening else position
        if self.text[here : here + 1] != opening:
            raise self.file.error(
                here, f"expected '{opening}' after {owner}, found {self.file.found(here)}."
            )
        end = here + 1
        while True:
            stop = self.text.find(closing, end)
            if stop < 0:
                raise self.file.error(
                    here, f"the '{opening}' of {owner} is never closed; is the file truncated?"
                )
            # A bracket inside quotes does not count.
            if self.text.count('"', end, stop) % 2 == 0:
                return stop
            end = self.text.find('"', stop) + 1
            if end == 0:
                raise self.file.error(here, f"a quotation in {owner} is never closed.")

    def _network(self, block: re.Match) -> int:
        if block[2] and block[2].strip('"') != "unknown":
            self.network.name = block[2].strip('"')
        return self._closing(block.end(), "{", "}", "network")

    def _variable(self, name: str, block: re.Match) -> int:
        if not name:
            raise self.file.error(block.start(1), "a variable without a name.")
        if name in self.network.labels:
            raise self.file.error(block.start(1), f"the variable '{name}' is declared twice.")
        position = block.end()
        if self.text[position : position + 1] != "{":
            raise self.file.error(
                position,
                f"expected '{{' after variable '{name}', found {self.file.found(position)}.",
            )
        position += 1
        labels: list[str] | None = None
        while True:
            here = self._start(position)
            if self.text[here : here + 1] == "}":
                break
            kind = TYPE.match(self.text, position)
            if kind is not None and labels is None:
                end = self._closing(kind.end() - 1, "{", "}", f"variable '{name}'")
                labels = self._words(kind.end(), end, f"the states of '{name}'")
                if len(labels) != int(kind[1]):
                    raise self.file.error(
                        here, f"'{name}' announces {kind[1]} states and lists {len(labels)}."
                    )
                position = self._start(end + 1)
                position += self.text[position : position + 1] == ";"
                continue
            other = PROPERTY.match(self.text, position)
            if other is None:
                raise self.file.error(
                    here,
                    f"'{name}' is not closed by '}}'; found {self.file.found(here)}."
                    if labels is not None
                    else f"'{name}' needs 'type discrete [n] {{ states }};', found {self.file.found(here)}.",
                )
            position = other.end()
        if not labels:
            raise self.file.error(block.start(1), f"'{name}' has no states.")
        if len(set(labels)) < len(labels):
            twice = next(x for i, x in enumerate(labels) if x in labels[:i])
            raise self.file.error(block.start(1), f"'{name}' has the state '{twice}' twice.")
        self.network.labels[name] = tuple(labels)
        self._places[name] = {label: i for i, label in enumerate(labels)}
        return here

    def _words(self, start: int, end: int, owner: str) -> list[str]:
        """Words with commas between them."""
        words, position = [], start
        while self.text[position:end].strip():
            found = LIST.match(self.text, position, end)
            if found is None:
                # The last word need not end where the text does.
                raise self.file.error(
                    position,
                    f"expected a comma in {owner}, found {self.file.found(position)}.",
                )
            words.append(found[1].strip('"'))
            position = found.end()
            if found[2] == "" and self.text[position:end].strip():
                raise self.file.error(position, f"expected a comma in {owner}.")
        return words

    # -- tables ----------------------------------------------------------------------------------

    def _where(self, position: int) -> str:
        """`file:line`, for positions that only grow."""
        self._lines += self.text.count("\n", self._counted, position)
        self._counted = position
        return f"{self.file.name}:{self._lines}"

    def _probability(self, opening: int, scope: int, brace: int) -> None:
        inside = self._start(opening) + 1
        where = self._where(inside)
        bar = self.text.find("|", inside, scope)
        names = self._words(inside, scope if bar < 0 else bar, "probability(...)")
        if len(names) != 1:
            if bar >= 0 or not names:
                raise self.file.error(inside, "probability(...) names one variable before the '|'.")
            parents = names[1:]
        else:
            parents = [] if bar < 0 else self._words(bar + 1, scope, "probability(...)")
        name = names[0]
        for other in (name, *parents):
            if other not in self.network.labels:
                raise self.file.error(
                    inside,
                    f"probability of '{name}': there is no variable '{other}'.{closest(other, self.network.labels)}",
                )
        if name in self.network.families:
            raise self.file.error(inside, f"'{name}' is given probabilities twice.")
        if len({name, *parents}) <= len(parents):
            raise self.file.error(inside, f"'{name}' has one variable twice among its parents.")
        table = self._table(name, parents, scope + 1, brace, where)
        self.network.families[name] = Family(tuple(parents), table, where)

    def _table(
        self, name: str, parents: list[str], position: int, brace: int, where: str
    ) -> ndarray:
        sizes = [len(self.network.labels[v]) for v in (*parents, name)]
        cells, own = room(sizes, name, where), sizes[-1]
        places = [self._places[p] for p in parents]
        rows: dict[tuple[int, ...], list[float]] = {}
        default: list[float] | None = None
        position = self.text.index("{", position) + 1
        body = self.text[position:brace]
        if body.strip() and not body.rstrip().endswith(";"):
            raise self.file.error(brace, f"the last row of '{name}' lacks its ';'.")
        pattern = QUOTED if '"' in body else ROW
        for statement in _statements(body):
            here, position = position, position + len(statement) + 1
            row = pattern.match(statement)
            if row is None:
                if PROPERTY.match(statement + ";") or not statement.strip():
                    continue
                raise self.file.error(
                    self._start(here),
                    f"expected a row (states) p, p, ...; for '{name}', found {self.file.found(here)}.",
                )
            numbers = self.file.probabilities(
                row[3].replace(",", " ").split(), here + row.start(3), name
            )
            if row[2] == "table":
                if rows or default:
                    raise self.file.error(self._start(here), f"'{name}' has rows beside a table.")
                if len(numbers) != cells:
                    raise self.file.error(
                        self._start(here),
                        f"the table of '{name}' has {len(numbers)} entries; it needs {cells}.",
                    )
                # The variable itself runs slowest.
                turned = numpy.array(numbers).reshape((own, *sizes[:-1]))
                rows = {(): numpy.moveaxis(turned, 0, -1)}  # type: ignore[dict-item]
                continue
            if () in rows and parents:
                raise self.file.error(self._start(here), f"'{name}' has rows beside a table.")
            if len(numbers) != own:
                raise self.file.error(
                    self._start(here),
                    f"a row of '{name}' has {len(numbers)} entries; it has {own} states.",
                )
            if row[2] == "default":
                default = numbers
                continue
            labels = [w.strip().strip('"') for w in row[1].split(",")]
            if '"' in row[1]:
                opened = here + row.start(1)
                labels = self._words(opened, opened + len(row[1]), f"a row of '{name}'")
            try:
                at = tuple([place[w] for place, w in zip(places, labels, strict=True)])
            except ValueError:
                raise self.file.error(
                    self._start(here),
                    f"a row of '{name}' names {len(labels)} states; it has {len(parents)} parents.",
                ) from None
            except KeyError:
                for parent, place, w in zip(parents, places, labels, strict=True):
                    index_of(
                        w,
                        place,
                        parent,
                        f"{self.file.where(self._start(here))}: in a row of '{name}'",
                    )
                raise
            if at in rows:
                raise self.file.error(self._start(here), f"'{name}' has the row ({row[1]}) twice.")
            rows[at] = numbers
        return self._filled(name, parents, sizes, rows, default, where)

    def _filled(self, name, parents, sizes, rows, default, where) -> ndarray:
        if () in rows:
            return numpy.array(rows[()], dtype=float)
        count = room(sizes, name, where) // sizes[-1]
        if len(rows) < count and default is None:
            at = next(at for at in product(*map(range, sizes[:-1])) if at not in rows)
            labels = ", ".join(self.network.labels[p][i] for p, i in zip(parents, at, strict=True))
            raise FormatError(
                f"{where}: '{name}' has no row for ({labels})."
                if parents
                else f"{where}: '{name}' has no probabilities."
            )
        if len(rows) == count:
            ordered = numpy.array(list(rows.values()))
            strides = numpy.cumprod([1, *sizes[:-1][::-1]])[:-1][::-1]
            table = numpy.empty_like(ordered)
            table[numpy.array(list(rows)) @ strides] = ordered
            return table.reshape(sizes)
        table = numpy.broadcast_to(numpy.array(default), sizes).copy()
        for at, numbers in rows.items():
            table[at] = numbers
        return table


def _statements(body: str) -> list[str]:
    """The statements of a block, without their semicolons; a quoted semicolon ends nothing."""
    if '"' not in body:
        return body.split(";")
    return re.findall(r'(?:"[^"]*"|[^;"])+', body)


def _blank(found: re.Match) -> str:
    """A comment as blanks, so that lines keep their numbers; a quotation as it is."""
    text = found[0]
    return text if text.startswith('"') else re.sub(r"[^\n]", " ", text)


# -- writing -------------------------------------------------------------------------------------


def write(network: Network) -> str:
    """The network as BIF text, in digits that read back as the same doubles."""
    lines = [f"network {_quoted(network.name)} {{", "}"]
    for name, labels in network.labels.items():
        lines += [
            f"variable {_quoted(name)} {{",
            f"  type discrete [ {len(labels)} ] {{ {', '.join(map(_quoted, labels))} }};",
            "}",
        ]
    for name, family in network.families.items():
        given = f" | {', '.join(map(_quoted, family.parents))}" if family.parents else ""
        lines.append(f"probability ( {_quoted(name)}{given} ) {{")
        if not family.parents:
            lines.append(f"  table {_row(family.table)};")
        for at in product(*(range(n) for n in family.table.shape[:-1])) if family.parents else ():
            states = ", ".join(
                _quoted(network.labels[p][i]) for p, i in zip(family.parents, at, strict=True)
            )
            lines.append(f"  ({states}) {_row(family.table[at])};")
        lines.append("}")
    return "\n".join(lines) + "\n"


def _quoted(word: str) -> str:
    if '"' in word or "\n" in word:
        raise FormatError(
            f"BIF cannot write the name {word!r}: it has a quotation mark or a new line."
        )
    plain = re.fullmatch(WORD, word) and not re.search(r"//|/\*", word)
    return word if plain else f'"{word}"'


def _row(numbers: ndarray) -> str:
    return ", ".join(map(repr, numbers.tolist()))
