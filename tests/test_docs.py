"""The how-to pages tell the truth: their code runs and prints what they say."""

import doctest
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted((ROOT / "docs" / "how-to").glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_a_page_runs_and_prints_what_it_says(page, tmp_path, monkeypatch):
    """In a folder of its own, beside the data that it reads."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    text = page.read_text().replace("```", "")
    test = doctest.DocTestParser().get_doctest(text, {}, page.stem, str(page), 0)
    out: list[str] = []
    doctest.DocTestRunner(optionflags=flags).run(test, out=out.append)
    assert not out, "".join(out)
