"""A picture that notebooks show and files keep: DOT text, rendered by Graphviz where it is installed, otherwise by `graphviz-pure`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from io import BytesIO
from pathlib import Path
from typing import Any

import graphviz

from ..errors import BackendError
from .svg import tidied

__all__ = ["Picture"]


class Picture(graphviz.Digraph):
    """A drawn graph: notebooks show it inline, `save` writes it to a file.

    It is a `graphviz.Digraph`, whose `source` is the text of the picture, and is rendered by
    Graphviz' `dot` where that is installed, otherwise by the pip-installed `graphviz-pure`.
    """

    def __init__(self, name: str | None = None, **options: Any):
        base = "".join(c if c.isalnum() or c in "-_." else "_" for c in name or "model")
        options.setdefault("filename", f"{base}.gv")
        super().__init__(name, **options)

    def __repr__(self) -> str:
        base = Path(self.filename).stem
        return f'Picture of {self.name}: .save("{base}.svg"), or .source for its text'

    def save(
        self,
        filename: str | os.PathLike[str] | None = None,
        directory: str | os.PathLike[str] | None = None,
        *,
        skip_existing: bool | None = False,
    ) -> Path:
        """Write the picture to a file.

        Args:
            filename: Ends in .svg, .png, .pdf or .jpg for a picture; any other name, as model.gv,
                saves the source.
            directory: Where to put it, if not where `filename` says.
            skip_existing: Whether to leave a file that is there alone.

        Returns:
            The path of the file.

        Raises:
            BackendError: If a picture was asked for and nothing can render it.
        """
        path = Path(directory or self.directory, filename or self.filename)
        if skip_existing and path.exists():
            return path
        format = path.suffix.lower().lstrip(".")
        if format in ("svg", "png", "pdf", "jpg", "jpeg"):
            content = _rendered(self.source, format)
        else:
            content = self.source.encode()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def pipe(
        self, format: str | None = None, *, encoding: str | None = None, **ignored: Any
    ) -> Any:
        """The rendered picture: bytes, or text where an encoding is given."""
        content = _rendered(self.source, format or self.format)
        return content if encoding is None else content.decode(encoding)

    def render(
        self,
        filename: str | os.PathLike[str] | None = None,
        directory: str | os.PathLike[str] | None = None,
        view: bool = False,
        cleanup: bool = False,
        format: str | None = None,
        *,
        outfile: str | os.PathLike[str] | None = None,
        **ignored: Any,
    ) -> str:
        """Save source and picture beside each other, as `graphviz` does; `view=True` also opens it.

        Returns:
            The path of the picture.
        """
        if outfile is not None:
            path = self.save(outfile, directory)
        else:
            source = Path(directory or self.directory, filename or self.filename)
            path = self.save(f"{source}.{format or self.format}")
            if not cleanup:
                source.write_text(self.source, encoding="utf-8")
        if view:
            self._view(str(path), format=path.suffix.lstrip("."), quiet=False)
        return str(path)

    def _repr_svg_(self) -> str | None:
        try:
            return self.pipe("svg", encoding="utf-8")
        except BackendError:
            return None

    def _repr_mimebundle_(
        self, include: Any = None, exclude: Any = None, **ignored: Any
    ) -> dict[str, Any]:
        svg = self._repr_svg_()
        bundle = (
            {"text/plain": self.source}
            if svg is None
            else {"text/plain": repr(self), "image/svg+xml": svg}
        )
        kept = bundle.keys() if include is None else set(include)
        return {
            mime: shown
            for mime, shown in bundle.items()
            if mime in kept and mime not in (exclude or ())
        }


# -- rendering -------------------------------------------------------------------------------------


def _rendered(source: str, format: str) -> bytes:
    """The picture as a file's bytes, by the first renderer that can."""
    found = _renderers()
    if not found:
        raise BackendError(
            "There is no renderer for pictures: neither Graphviz' 'dot' is on the PATH nor is "
            "'graphviz-pure' installed. Run 'pip install graphviz-pure', or install Graphviz from "
            "graphviz.org. Without either, .source is the picture as text, and "
            '.save("model.gv") writes it to a file.'
        )
    complaints = []
    for command in found:
        try:
            # graphviz-pure writes no PDF.
            if format == "pdf" and Path(command).stem == "graphviz-pure":
                return _pdf(command, source)
            if format == "svg":
                return tidied(_call(command, source, "-Tsvg"))
            sharp = ["-Gdpi=192"] if format in ("png", "jpg", "jpeg") else []
            return _call(command, source, f"-T{format}", *sharp)
        except (OSError, subprocess.SubprocessError, ImportError) as error:
            said = getattr(error, "stderr", None)
            complaints.append(
                f"{command}: {said.decode(errors='replace').strip() if said else error}"
            )
    raise BackendError(
        f"The picture could not be rendered as {format} ({'; '.join(complaints)}). "
        "Try another format; .source is the picture as text, and "
        '.save("model.gv") writes it to a file.'
    )


def _renderers() -> list[str]:
    places = (None, str(Path(sys.executable).parent), sysconfig.get_path("scripts"))
    pure = next(filter(None, (shutil.which("graphviz-pure", path=place) for place in places)), None)
    return [command for command in (shutil.which("dot"), pure) if command]


def _call(command: str, source: str, *options: str) -> bytes:
    # Layout is quick; a minute means that the graph has become too dense to draw.
    done = subprocess.run(
        [command, *options], input=source.encode(), capture_output=True, timeout=60, check=True
    )
    return done.stdout


def _pdf(command: str, source: str) -> bytes:
    """A PDF with one sharp bitmap on its page."""
    from PIL import Image

    dots = 300
    png = _call(command, source, "-Tpng", f"-Gdpi={dots}")
    # Width and height are at a fixed place in a PNG. Pillow refuses enormous bitmaps, so those are
    # drawn coarser.
    pixels = int.from_bytes(png[16:20]) * int.from_bytes(png[20:24])
    if pixels > 60e6:
        dots = int(dots * (60e6 / pixels) ** 0.5)
        png = _call(command, source, "-Tpng", f"-Gdpi={dots}")
    page = BytesIO()
    Image.open(BytesIO(png)).convert("RGB").save(page, "PDF", resolution=dots)
    return page.getvalue()
