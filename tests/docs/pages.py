"""A page of documentation as a doctest: its Python blocks, in order, in one session.

Blocks with prompts are compared with what they print. Blocks without are run; what the last line prints is the text block that follows at once, or nothing.
"""

import ast
import doctest
import re
import textwrap
from pathlib import Path

__all__ = ["DOCS", "ROOT", "failures", "has_code", "run_session", "session"]

ROOT = Path(__file__).resolve().parent.parent.parent
DOCS = ROOT / "docs"


def has_code(page: Path) -> bool:
    """Whether a page has Python that runs."""
    return bool(_blocks(page.read_text()))


def session(text: str) -> str:
    """All Python blocks of a page as one doctest session."""
    return "\n".join(
        block if ">>>" in block else _prompted(block) + _wanted(shown)
        for block, shown in _blocks(text)
    )


def failures(page: Path) -> str:
    """What a page prints against what it says it prints: empty where they are the same."""
    return run_session(page.read_text(), page.stem)


def run_session(text: str, name: str) -> str:
    """The same for the text of a page."""
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    test = doctest.DocTestParser().get_doctest(session(text), {}, name, name, 0)
    out: list[str] = []
    doctest.DocTestRunner(optionflags=flags).run(test, out=out.append)
    return "".join(out)


def _blocks(text: str) -> list[tuple[str, str]]:
    """The Python blocks, each with the text block that follows it at once."""
    pattern = r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```)?"
    return re.findall(pattern, text, flags=re.M | re.S)


def _wanted(shown: str) -> str:
    return re.sub(r"^$\n", "<BLANKLINE>\n", shown, flags=re.M)


def _prompted(block: str) -> str:
    lines = block.splitlines()
    rows = []
    for node in ast.parse(textwrap.dedent(block)).body:
        decorators = getattr(node, "decorator_list", [])
        first = min([node.lineno, *(d.lineno for d in decorators)])
        told = lines[first - 1 : node.end_lineno]
        rows += [f"{'>>>' if i == 0 else '...'} {line}" for i, line in enumerate(told)]
    return "\n".join(rows) + "\n"
