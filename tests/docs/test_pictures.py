"""Every picture of the documentation is made by the documentation's own code, and is there."""

import importlib.util
import re

from .pages import DOCS, ROOT

spec = importlib.util.spec_from_file_location("docs_pictures", DOCS / "pictures.py")
pictures = importlib.util.module_from_spec(spec)
spec.loader.exec_module(pictures)


def test_each_picture_that_is_shown_has_its_maker():
    """And none is made that nobody sees."""
    shown = set()
    for page in [ROOT / "README.md", *DOCS.rglob("*.md")]:
        for name in re.findall(r"!\[.*?\]\((.*?)\)", page.read_text()):
            assert (page.parent / name).stat().st_size > 0
            shown.add(name.rpartition("/")[2])
    assert shown == set(pictures.PICTURES)


def test_a_picture_is_made_anew(tmp_path):
    """The garden, whose picture is text that a renderer may space otherwise: nodes and cut edge are the same."""
    pictures.garden(tmp_path / "garden.svg")
    made, kept = (path.read_text() for path in (tmp_path / "garden.svg", DOCS / "garden.svg"))
    titles = re.compile(r"<title>(.*?)</title>")
    assert set(titles.findall(made)) == set(titles.findall(kept))
