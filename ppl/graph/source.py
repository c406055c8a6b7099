"""The source of a function as a text that every version of Python writes alike: its syntax tree, without comments, docstring, decorators and positions."""

from __future__ import annotations

import ast
import linecache
from collections.abc import Iterator
from functools import lru_cache
from types import CodeType
from typing import Any

__all__ = ["written"]

#: Fields of a syntax tree that some versions have and others have not, or that say nothing about meaning.
SILENT = ("type_params", "type_comment", "kind", "ctx", "returns", "annotation")
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def written(code: CodeType) -> str | None:
    """What is written in a function's source; `None` where there is none, or it is not what is being run.

    Args:
        code: Of the function.

    Example:
        >>> written((lambda: 0).__code__)
        'arguments ; Constant value int 0 ;'
    """
    lines = linecache.getlines(code.co_filename)
    if not lines:
        return None
    found = _functions("".join(lines), code.co_filename)
    # A file that was edited since, or that a tool rewrote, compiles to something else than what runs.
    texts = {text for other, text in found if _same(other, code)}
    return texts.pop() if len(texts) == 1 else None


@lru_cache(maxsize=16)
def _functions(source: str, file: str) -> list[tuple[CodeType, str]]:
    """Every function of a file: as it is compiled, and as it is written."""
    try:
        tree = ast.parse(source)
        module = compile(source, file, "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return []
    codes: dict[tuple[int, str], list[CodeType]] = {}
    for code in _codes(module):
        codes.setdefault((code.co_firstlineno, code.co_name), []).append(code)
    trees: dict[tuple[int, str], list[ast.AST]] = {}
    for node in _nodes(tree):
        trees.setdefault(_place(node), []).append(node)
    found = []
    for place, mine in codes.items():
        # Both are in the order of the source, parents before children; several lambdas may share a line.
        nodes = trees.get(place, [])
        if len(nodes) == len(mine):
            pairs = zip(mine, nodes, strict=True)
            found += [(c, _text(n)) for c, n in pairs if _fits(c, n)]
    return found


def _codes(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes(constant)


def _nodes(tree: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, FUNCTIONS):
            yield child
        yield from _nodes(child)


def _place(node: Any) -> tuple[int, str]:
    """The first line and the name of the function that is compiled from this."""
    lines = [node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))]
    return min(lines), getattr(node, "name", "<lambda>")


def _fits(code: CodeType, node: Any) -> bool:
    """Whether arguments are the same and every instruction lies within the text of the function."""
    a = node.args
    names = [x.arg for x in (*a.posonlyargs, *a.args, *a.kwonlyargs, a.vararg, a.kwarg) if x]
    begin, end = (node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)
    inside = all(
        begin <= (line, column) and (last, stop) <= end
        for line, last, column, stop in code.co_positions()
        if line and stop and node.lineno <= line
    )
    return inside and list(code.co_varnames[: len(names)]) == names


def _same(one: CodeType, other: CodeType) -> bool:
    """Whether two functions are at one place and do the same."""
    return (
        one.co_firstlineno == other.co_firstlineno
        and one.co_code == other.co_code
        and one.co_names == other.co_names
        and one.co_varnames == other.co_varnames
        and one.co_freevars == other.co_freevars
        and one.co_qualname == other.co_qualname
        and list(one.co_positions()) == list(other.co_positions())
        and _constants(one) == _constants(other)
    )


def _constants(code: CodeType) -> list[str]:
    return [repr(c) for c in code.co_consts if not isinstance(c, CodeType | frozenset)]


def _text(node: Any) -> str:
    """A syntax tree in words; a docstring says nothing about it, and neither does the name of a function that is looked at by itself."""
    parts: list[str] = []
    _write(node.args, parts)
    body = node.body
    if isinstance(body, list) and ast.get_docstring(node) is not None:
        body = body[1:]
    _write(body, parts)
    return " ".join(parts)


def _write(value: Any, parts: list[str]) -> None:
    if isinstance(value, list):
        parts.append("[")
        for item in value:
            _write(item, parts)
        parts.append("]")
    elif isinstance(value, ast.AST):
        parts.append(type(value).__name__)
        for name, field in ast.iter_fields(value):
            # Newer versions have more fields: those that are empty are left out.
            if name not in SILENT and field is not None and field != []:
                parts.append(name)
                _write(field, parts)
        parts.append(";")
    else:
        parts.append(f"{type(value).__name__} {value!r}")
