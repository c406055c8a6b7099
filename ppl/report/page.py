"""The page: what was found out, filled into the template. Every text is escaped on its way, since names and labels are whatever users write."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["page"]


def page(told: Mapping[str, Any]) -> str:
    """The HTML of a report.

    Args:
        told: By the names that `templates/report.html` uses.
    """
    # A lone surrogate is a text for Python and none for a file.
    text = _environment().get_template("report.html").render(told)
    return text.encode("utf-8", "replace").decode("utf-8")


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("ppl.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
