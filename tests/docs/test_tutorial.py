"""The tutorial tells the truth: its code runs and prints what it says."""

import pytest

from .pages import DOCS, failures

PAGES = sorted((DOCS / "tutorial").glob("[0-9]*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_lesson_runs_and_prints_what_it_says(page, tmp_path, monkeypatch):
    """In an empty folder."""
    monkeypatch.chdir(tmp_path)
    said = failures(page)
    assert not said, said
