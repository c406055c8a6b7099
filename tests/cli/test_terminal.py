"""Galton as a program of its own: in a process, on a terminal, interrupted."""

import os
import signal
import subprocess
import sys
import time

SLOW = """
import time
import ppl
from ppl.distributions import Uniform

slow = ppl.Model("slow")

@slow.theta
def load():
    return Uniform(0, 1)

@slow.observed
def seen(load, rng):
    time.sleep(0.002)
    return rng.poisson(load)
"""


def test_help_comes_at_once():
    """Nothing heavy is loaded to show what there is, nor to say the version."""
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom ppl.cli import app\n"
        "for words in (['--help'], ['infer', '--help'], ['version']):\n"
        "    assert CliRunner().invoke(app, words).exit_code == 0\n"
        "print([m for m in ('torch', 'pyro', 'matplotlib', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_the_program_answers_and_ends_with_its_exit_code(folder):
    """`python -m ppl` in a process: the answer, and an error without a traceback."""
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "ppl", "infer", "garden.py", "--given", given],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for given in ("wet=1", "wet=7")
    ]
    said = [process.communicate(timeout=120) for process in running]

    assert [process.returncode for process in running] == [0, 1]
    assert "dry 0.3077, rain 0.6923" in said[0][0]
    assert not said[0][1]
    assert not said[1][0]
    assert said[1][1].startswith("error: --given wet: 'wet' was observed as 7")


def test_an_interruption_keeps_the_store_and_ends_with_130(folder):
    """What is kept is said, and there is no traceback."""
    (folder / "slow.py").write_text(SLOW)
    words = ["simulate", "slow.py", "-n", "1000000", "--store", "runs"]
    running = subprocess.Popen(
        [sys.executable, "-m", "ppl", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    for _ in range(600):
        if (folder / "runs").exists() or running.poll() is not None:
            break
        time.sleep(0.05)
    time.sleep(0.5)
    running.send_signal(signal.SIGINT)
    out, said = running.communicate(timeout=60)

    assert running.returncode == 130, said
    assert "runs is kept; the same command goes on" in said
    assert "Traceback" not in said
    assert not out
