"""How-to pages, comparisons and tables tell the truth: their code runs and prints what they say."""

import re

import pytest

from .pages import DOCS, ROOT, failures, has_code

#: The tutorial, and the page that needs a package, are elsewhere.
PAGES = sorted(
    page
    for page in DOCS.rglob("*.md")
    if page.parent.name != "tutorial" and page.stem != "backend" and has_code(page)
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_runs_and_prints_what_it_says(page, tmp_path, monkeypatch):
    """In a folder of its own, beside the data that it reads."""
    for folder in ("tests", "examples"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    monkeypatch.chdir(tmp_path)
    said = failures(page)
    assert not said, said


def test_no_prompt_escapes():
    """A prompt stands in a Python block, where it is run: not in a block of another name, nor in the open."""
    for page in [ROOT / "README.md", *DOCS.rglob("*.md")]:
        outside = re.sub(r"^```python\n.*?^```", "", page.read_text(), flags=re.M | re.S)
        assert ">>>" not in outside, page.name


def test_every_page_is_in_the_site():
    """Whoever opens the first page finds the others; the decisions are all listed by a pattern."""
    listed = "".join(page.read_text() for page in DOCS.rglob("index.md"))
    for page in DOCS.rglob("*.md"):
        if page.stem != "index" and page.parent.name != "decisions":
            assert f"\n{page.stem}\n" in listed or f"/{page.stem}\n" in listed, page.name
