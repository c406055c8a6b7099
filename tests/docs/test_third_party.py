"""Other people's engines: installed by pip, found by the entry point, asked by the compiler."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from .pages import DOCS, ROOT


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the example package, as pip puts it there; the sources stay as they were."""
    there = tmp_path_factory.mktemp("packages")
    source = shutil.copytree(
        ROOT / "examples" / "third_party_backend",
        tmp_path_factory.mktemp("source") / "it",
        ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"),
    )
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation"]
    command += ["--disable-pip-version-check", "--target", str(there), str(source)]
    subprocess.run(command, check=True, capture_output=True, text=True, cwd=source)
    return there


def test_the_page_about_backends_runs_with_the_package(installed):
    """In a process that has the package: `infer` takes its name, the plan asks it, and the answers are the page's."""
    page = DOCS / "how-to" / "backend.md"
    program = (
        "import pathlib; from tests.docs.pages import run_session\n"
        f"blocks = pathlib.Path({str(page)!r}).read_text()\n"
        f"print(run_session(blocks, 'backend'), end='')"
    )
    where = os.pathsep.join([str(installed), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={**os.environ, "PYTHONPATH": where},
        capture_output=True,
        text=True,
        cwd=installed,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stdout, done.stdout


def test_the_page_about_backends_shows_the_package():
    """What the page shows of the package is in it, but for spaces."""
    page = (DOCS / "how-to" / "backend.md").read_text()
    package = (ROOT / "examples/third_party_backend/galton_importance/__init__.py").read_text()
    shown = re.findall(r"^```py\n(.*?)^```", page, flags=re.M | re.S)
    assert shown
    assert all("".join(block.split()) in "".join(package.split()) for block in shown)
