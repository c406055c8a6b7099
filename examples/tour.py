"""The tour: three models, their DAGs, their plans and their answers.

Run it with `python examples/tour.py`; it prints what it finds and leaves pictures in the folder `tour`.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import ppl
from examples import flu_1978, galton_board, sprinkler
from ppl.pictures import plot


def main(folder: str = "tour") -> None:
    """Run the examples and write the pictures."""
    begun, out = time.monotonic(), Path(folder)
    out.mkdir(exist_ok=True)
    heading("The sprinkler")
    sprinkler.main()
    heading("The Galton board")
    slopes = galton_board.main()
    heading("Influenza, 1978")
    epidemic = flu_1978.main()
    pictures(out)
    plot(slopes, path=out / "galton_board_posteriors.png")
    epidemic.plot(str(out / "flu_1978_posterior.png"))
    print(f"\npictures in {out}/: {', '.join(sorted(p.name for p in out.iterdir()))}")
    print(f"{time.monotonic() - begun:.0f} s")


def heading(title: str) -> None:
    """A line above and below."""
    print(f"\n{'=' * 100}\n{title}\n{'=' * 100}\n")


def pictures(out: Path) -> None:
    """The DAGs, one of them as a plan."""
    sprinkler.garden.draw().save(out / "sprinkler.svg")
    sprinkler.garden.do(sprinkler=1).draw().save(out / "sprinkler_do.svg")
    galton_board.galton_board().draw().save(out / "galton_board.svg")
    flu_1978.flu.draw().save(out / "flu_1978.svg")
    ppl.compile(sprinkler.garden, {"rain": 1}, of="wet").draw().save(out / "sprinkler_plan.svg")


if __name__ == "__main__":
    main()
