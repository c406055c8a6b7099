"""The arrows of the house: who may import whom. Everything points to the graph, and `ppl` never imports a backend."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

ALLOWED = {
    "ppl/distributions": {"errors"},
    # A leaf: how files are written, whatever is in them.
    "ppl/files": {"errors"},
    "ppl/graph": {"errors", "html"},
    "ppl/mechanism": {"errors", "graph", "distributions"},
    "ppl/campaign": {"errors", "files", "graph", "mechanism"},
    # `Posterior.check`, `.plot` and `.report` are doors, and so is `Plan.report`.
    "ppl/posterior": {
        *("errors", "files", "html", "graph", "mechanism", "versions"),
        *("checks", "pictures", "report"),
    },
    # The band in a picture of ranks is the one that the check tests.
    "ppl/pictures": {"errors", "posterior", "checks"},
    # Reports look at a plan without importing the compiler.
    "ppl/report": {"errors", "files", "graph", "posterior", "versions"},
    # A query says where simulations are run.
    "ppl/compiler": {
        *("errors", "files", "html", "graph", "mechanism", "posterior", "campaign", "versions"),
        "report",
    },
    # Checks run engines again, on data that the model makes.
    "ppl/checks": {"errors", "graph", "mechanism", "posterior", "compiler"},
    # Other libraries call the model through these: forward sampling and densities are all that they need of it.
    "ppl/bridges": {"errors", "graph", "mechanism", "distributions"},
    # `Model.simulate`, `Model.log_joint`, `Model.draw`, `Model.prior` and `Model.to_pyro` are the model's doors to these; see docs/decisions.
    "ppl/dsl": {"errors", "html", "graph", "mechanism", "campaign", "bridges"},
    # The command line is the outermost: it uses every door, and nothing uses it.
    "ppl/cli": {
        "errors",
        "graph",
        "mechanism",
        "campaign",
        "posterior",
        "compiler",
        "formats",
        "dsl",
    },
}


def _imports(path: Path) -> set[str]:
    """Absolute names of everything that a file imports."""
    package = path.relative_to(ROOT).parts[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            prefix = ".".join([*base, *([node.module] if node.module else [])])
            found |= {prefix} if node.module else {f"{prefix}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("folder", ALLOWED)
def test_arrows_inside_ppl(folder):
    """A package imports itself and what the design lets it."""
    own = folder.split("/")[1]
    for path in (ROOT / folder).rglob("*.py"):
        for name in _imports(path):
            if name.startswith("ppl."):
                assert name.split(".")[1] in ALLOWED[folder] | {own}, f"{path} imports {name}"
            assert not name.startswith("backends"), f"{path} imports {name}"


def test_backends_use_neither_the_front_doors_nor_one_another():
    """An engine sees the contract; only declared neighbours see one another."""
    for path in (ROOT / "backends").rglob("*.py"):
        own = path.relative_to(ROOT).parts[1].removesuffix(".py")
        for name in _imports(path):
            assert name not in ("ppl", "ppl.inference", "ppl.fitting"), f"{path} imports {name}"
            assert not name.startswith("ppl.dsl"), f"{path} imports {name}"
            if name.startswith("backends."):
                allowed = {own, "kernels"} | ({"exact"} if own == "density" else set())
                assert name.split(".")[1] in allowed, f"{path} imports {name}"


def test_importing_ppl_loads_no_engine_and_no_heavy_library():
    """The registry loads an engine on first use."""
    import subprocess
    import sys

    heavy = ("backends", "zuko", "matplotlib", "networkx", "pandas", "xarray", "jinja2")
    code = f"import sys, ppl; ppl.Model; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
