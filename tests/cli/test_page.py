"""The page about the command line tells the truth: its commands run, and print what it says."""

import doctest
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ppl.cli import app

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "how-to" / "command-line.md").read_text()
BLOCKS = re.findall(r"```console\n(.*?)```", PAGE, flags=re.S)


@pytest.fixture
def typed(tmp_path, monkeypatch):
    """A shell that knows `galton`, `cat`, which makes the file that is shown, and `echo $?`."""
    for name in ("examples", "tests"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    codes = [0]

    def run(command, shown):
        if command == "echo $?":
            return f"{codes[-1]}\n"
        word, *words = command.split()
        if word == "cat":
            Path(words[0]).write_text(shown)
            return shown
        assert word == "galton"
        done = CliRunner().invoke(app, words)
        codes.append(done.exit_code)
        # The page shows what it is about: a published network warns that its rows are rounded.
        return done.stdout + re.sub(r"^warning: .*\n", "", done.stderr, flags=re.M)

    return run


def test_the_commands_of_the_page_print_what_it_says(typed):
    """Every command, in order, in one folder."""
    checker = doctest.OutputChecker()
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    commands = [
        part.partition("\n")[::2]
        for block in BLOCKS
        for part in re.split(r"^\$ ", block, flags=re.M)[1:]
    ]

    assert len(commands) > 10
    for command, shown in commands:
        said = typed(command, shown)
        assert checker.check_output(shown, said, flags), f"$ {command}\n{said}"


def test_the_page_names_every_command():
    """Whoever reads it has seen them all."""
    from typer.main import get_command

    for name in get_command(app).commands:
        assert f"galton {name}" in PAGE or name == "version", name
