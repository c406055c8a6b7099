"""The README tells the truth: its code runs, its commands are the ones that are run, its plan is the plan."""

import doctest
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "README.md").read_text()


def _code() -> str:
    """All Python of the README as one doctest session."""
    blocks = re.findall(r"```python\n(.*?)```", TEXT, flags=re.S)
    lines = []
    for block in blocks:
        if ">>>" in block:
            lines.append(block)
        else:
            rows = [row for row in block.splitlines()]
            open_block = False
            for row in rows:
                indented = row.startswith((" ", "\t"))
                if not row.strip():
                    continue
                starts = not indented and not (open_block and row.startswith("def "))
                lines.append(f"{'>>> ' if starts else '... '}{row}\n")
                open_block = row.startswith("@")
    return "".join(lines)


def test_readme_code_runs_and_prints_what_it_says():
    """Every Python block, in order, in one session."""
    parser = doctest.DocTestParser()
    flags = doctest.NORMALIZE_WHITESPACE
    test = parser.get_doctest(_code(), {}, "README", "README.md", 0)
    out: list[str] = []
    runner = doctest.DocTestRunner(optionflags=flags)
    runner.run(test, out=out.append, clear_globs=False)
    assert runner.failures == 0, "".join(out)
    plan = str(test.globs["ppl"].compile(test.globs["garden"], given=["wet"], of=["rain"]))
    assert plan in TEXT


def test_readme_and_ci_run_the_same_two_commands():
    """What a newcomer types is what is tested."""
    commands = re.findall(r"^pip install -c constraints.txt .*$", TEXT, flags=re.M)
    ci = (ROOT / ".ci" / "run").read_text()
    assert len(commands) == 2
    assert all(re.search(f"^{re.escape(command)}$", ci, flags=re.M) for command in commands)


def test_readme_pictures_are_there():
    """Every picture that the README shows is in the repository."""
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", TEXT)
    assert pictures
    assert all((ROOT / picture).stat().st_size > 0 for picture in pictures)


def test_every_dependency_is_pinned():
    """Whatever pyproject names has an exact version in constraints.txt."""
    project = (ROOT / "pyproject.toml").read_text()
    pinned = {
        re.split("==", row)[0].lower().replace("_", "-")
        for row in (ROOT / "constraints.txt").read_text().splitlines()
    }
    named = re.findall(r'^\s*"([a-zA-Z_-]+)>=', project, flags=re.M) + re.findall(
        r'"(\w+)>=[\d.]+"', project
    )
    assert {name.lower().replace("_", "-") for name in named} <= pinned
