"""What each command prints, writes and ends with."""

import csv
import json
import re

import numpy
import pytest
from typer.testing import CliRunner

import ppl
from ppl.cli import app
from ppl.cli.target import model_of
from ppl.posterior import Certificate, Posterior

# These come with other parts of Galton.


# -- draw and plan -------------------------------------------------------------------------------


def test_draw_tells_the_story_or_saves_the_picture(galton, folder):
    """After an intervention the picture has a cut edge."""
    told = galton("draw", "garden.py")
    saved = galton("draw", "garden.py", "--out", "garden.gv")
    cut = galton("draw", "garden.py", "--do", "wet=1", "--out", "after.gv", "--legend")

    assert "weather  Bernoulli; states dry, rain" in told.stdout
    assert saved.exit_code == cut.exit_code == 0
    assert saved.stdout == "garden.gv: garden, 2 nodes\n"
    assert '"weather" -> "wet"' in (folder / "garden.gv").read_text()
    assert (folder / "garden.gv").read_text() != (folder / "after.gv").read_text()


def test_plan_prints_what_the_api_prints(galton):
    """For names without values, and for values."""
    model = model_of("garden.py")
    open_ = galton("plan", "garden.py", "--given", "wet", "--of", "weather")
    known = galton("plan", "garden.py", "--given", "wet=1")

    assert open_.stdout == f"{ppl.compile(model, ['wet'], ['weather'])}\n"
    assert known.stdout == f"{ppl.compile(model, {'wet': 1})}\n"


def test_plan_takes_inputs_with_names_that_are_open(galton, folder):
    """The observed node is named, and its plate has as many members as the input says."""
    (folder / "a.csv").write_text("x,y\n1,2\n3,4\n5,6\n")

    done = galton("plan", "models.py:line", "--given", "y", "--data", "a.csv", "--json")

    assert json.loads(done.stdout)["given"] == ["y"]
    assert json.loads(done.stdout)["routes"][0]["method"] == "closed"


def test_a_plan_that_nothing_can_follow_ends_with_three(galton, folder):
    """A prior without density or support, and continuous data: the plan is printed, with what would open a route."""
    (folder / "hard.py").write_text(
        "import ppl\nm = ppl.Model('m')\n"
        "@m.theta\ndef a(rng): return rng.normal(size=3)\n"
        "@m.observed\ndef x(a, rng): return a + rng.normal(size=3)\n"
    )

    done = galton("plan", "hard.py", "--given", "x=1,2,3")

    assert done.exit_code == 3
    assert "no engine can answer" in done.stdout
    assert "unverified: no engine" in done.stderr


def test_plan_writes_a_report(galton, folder):
    """A page, which is not replaced without --force."""
    words = ("plan", "garden.py", "--given", "wet", "--report", "plan.html")

    assert galton(*words).exit_code == 0
    assert "<html" in (folder / "plan.html").read_text()
    assert galton(*words).exit_code == 1
    assert galton(*words, "--force").exit_code == 0


# -- infer ---------------------------------------------------------------------------------------


def test_a_network_works_wherever_a_model_does(galton):
    """Labels are values; its rounded rows are warned of on the standard error."""
    done = galton(
        "infer", "alarm.bif", "-g", "CVP=HIGH", "-g", "BP=LOW", "--of", "HYPOVOLEMIA,LVFAILURE"
    )

    assert done.exit_code == 0
    assert "HYPOVOLEMIA  TRUE 0.8372, FALSE 0.1628" in done.stdout
    assert done.stderr.startswith("warning: alarm: 6 rows")
    cut = galton("infer", "alarm.bif", "--do", "VENTLUNG=ZERO", "--of", "CATECHOL")
    assert re.search(r"NORMAL 0\.0554\d+, HIGH 0\.944", cut.stdout)


def test_impossible_evidence_is_an_error(galton, folder):
    """With probability zero there is no posterior."""
    (folder / "sure.py").write_text(
        "import ppl\nfrom ppl.distributions import Bernoulli\nm = ppl.Model('m')\n"
        "@m.latent\ndef a(): return Bernoulli(0.5)\n@m.observed\ndef x(a): return Bernoulli(0.0)\n"
    )

    done = galton("infer", "sure.py", "-g", "x=1")

    assert done.exit_code == 1
    assert done.stderr.startswith("error: ")


def test_json_is_alone_on_the_standard_output(galton):
    """Although the model's file prints; numbers agree with the API."""
    done = galton("infer", "models.py:line", "-g", "x=1,2", "-g", "y=1,2", "--json")
    rows = json.loads(done.stdout)["posterior"]["rows"]

    assert "read" in done.stderr
    assert rows[0]["node"] == "slope"
    assert rows[0]["mean"] == pytest.approx(5 / 6)
    assert json.loads(done.stdout)["certificate"]["grade"] == "A"


def test_out_is_a_folder_of_files_that_other_programs_read(galton, folder):
    """Summary, draws with labels, pictures, plan, report."""
    words = ("infer", "garden.py", "-g", "wet=1", "--of", "weather", "--out", "answer")
    done = galton(*words)

    assert done.exit_code == 0, done.stderr
    out = folder / "answer"
    assert json.loads((out / "summary.json").read_text())["certificate"]["grade"] == "A"
    assert json.loads((out / "plan.json").read_text())["routes"][0]["method"] == "exact"
    with (out / "summary.csv").open() as file:
        [row] = csv.DictReader(file)
    assert float(row["p(rain)"]) == pytest.approx(0.18 / 0.26)
    parquet = pytest.importorskip("pyarrow.parquet")
    draws = parquet.read_table(out / "draws.parquet")["weather"].to_pylist()
    assert set(draws) == {"dry", "rain"}
    assert numpy.mean([d == "rain" for d in draws]) == pytest.approx(0.18 / 0.26, abs=0.03)
    assert (out / "marginals.png").read_bytes()[:4] == b"\x89PNG"
    assert done.stdout.splitlines()[-1].startswith("answer: summary.json, summary.csv, plan.json")
    assert galton(*words).exit_code == 1
    assert galton(*words, "--force", "--json").exit_code == 0


def test_out_has_a_report(galton, folder):
    """One page."""
    assert galton("infer", "garden.py", "-g", "wet=1", "--out", "answer").exit_code == 0
    assert "<html" in (folder / "answer" / "report.html").read_text()


def test_many_answers_are_written_as_tables_with_a_column_for_the_observation(galton, folder):
    """Draws and summaries of all of them, in the order of the rows."""
    (folder / "a.csv").write_text("wet\n1\n0\n")
    words = ("infer", "garden.py", "--data", "a.csv", "--rows", "--of", "weather", "--json")
    done = galton(*words, "--out", "answer", "--draws", 50)

    assert len(json.loads(done.stdout)["answers"]) == 2
    with (folder / "answer" / "summary.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["observation"] for row in rows] == ["0", "1"]
    assert [float(row["p(rain)"]) for row in rows] == pytest.approx([0.18 / 0.26, 0.02 / 0.74])


def test_nothing_is_overwritten_without_force(galton, folder):
    """Refused before the model is even looked at, so that no work is lost."""
    (folder / "answer").mkdir()
    (folder / "answer" / "summary.json").write_text("mine")
    (folder / "file").write_text("mine")

    for words in (
        ("infer", "no_model_here.py", "--out", "answer"),
        ("infer", "no_model_here.py", "--out", "file"),
        ("plan", "no_model_here.py", "--report", "file"),
        ("plan", "no_model_here.py", "--report", "nowhere/plan.html"),
        ("draw", "no_model_here.py", "--out", "file"),
        ("convert", "no_model_here.py", "file"),
        ("simulate", "no_model_here.py", "-n", 10, "--out", "answer"),
    ):
        done = galton(*words)
        assert done.exit_code == 1, words
        assert re.search("already|is a file|no folder", done.stderr), done.stderr
    assert (folder / "answer" / "summary.json").read_text() == "mine"
    assert (folder / "file").read_text() == "mine"


def test_a_folder_for_an_answer_that_failed_is_not_left_behind(galton, folder):
    """It is made before the work, so that it can be written to, and removed if there is nothing to write."""
    done = galton("infer", "garden.py", "-g", "wett=1", "--out", "answer")

    assert done.exit_code == 1
    assert not (folder / "answer").exists()


# -- check and strict ----------------------------------------------------------------------------


def test_check_prints_the_certificate_and_an_exact_answer_passes(galton):
    """Grade A is at least A."""
    done = galton("check", "garden.py", "-g", "wet=1", "--at-least", "a")

    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("grade A")


@pytest.mark.parametrize(
    ("grade", "wanted", "code"),
    [("A", "D", 0), ("D", "D", 0), ("U", "D", 3), ("D", "C", 3), ("A′", "A'", 0), ("A′", "A", 3)],
)
def test_the_exit_code_of_check_is_by_grade(galton, monkeypatch, grade, wanted, code):
    """0 for the grade that was asked for or a better one, 3 otherwise, whatever the checks find."""
    monkeypatch.setattr(
        Posterior, "check", lambda *_, **__: Certificate(grade, "so it is"), raising=False
    )

    done = galton("check", "garden.py", "-g", "wet=1", "--at-least", wanted)

    assert done.exit_code == code, done.stderr
    assert done.stdout == f"grade {grade}: so it is\n"
    assert ("unverified" in done.stderr) == (code == 3)


def test_what_an_answer_may_cost_is_not_how_many_data_sets_check_it(galton, monkeypatch):
    """--simulations is for the answer, --datasets for its check."""
    asked = []

    def check(self, *, budget, **_):
        asked.append((self.plan.budget.simulations, budget.simulations))
        return Certificate("A", "so it is")

    monkeypatch.setattr(Posterior, "check", check)
    words = ("check", "garden.py", "-g", "wet=1", "--simulations", 5000)

    assert [galton(*words).exit_code, galton(*words, "--datasets", 60).exit_code] == [0, 0]
    assert asked == [(5000, None), (5000, 60)]


def test_strict_ends_with_three_if_the_answer_stays_unverified(galton, monkeypatch):
    """ABC with a tolerance has grade U; without --strict that is no failure."""
    monkeypatch.setattr(Posterior, "check", lambda self, **_: self.certificate, raising=False)
    words = ("infer", "models.py:line", "-g", "x=[1]", "-g", "y=[1]", "--simulations", 2000)
    abc = (*words, "--method", "rejection(quantile=0.1)")

    assert [galton(*abc).exit_code, galton(*abc, "--strict").exit_code] == [0, 3]
    assert galton(*words, "--strict").exit_code == 0


# -- simulate and convert ------------------------------------------------------------------------


def test_simulate_says_what_the_api_says(galton, folder):
    """The same seed, the same bits."""
    done = galton("simulate", "garden.py", "-n", 500, "--seed", 3, "--out", "draws.npz")

    assert done.exit_code == 0, done.stderr
    expected = model_of("garden.py").simulate(500, seed=3)
    with numpy.load(folder / "draws.npz") as found:
        assert (found["wet"] == expected["wet"].numpy()).all()
        assert not found["status"].any()


def test_a_store_is_kept_and_read_again(galton, folder):
    """The second call simulates nothing; another model is refused."""
    words = ("simulate", "garden.py", "-n", 300, "--store", "runs", "--json")
    first, second = galton(*words), galton(*words)
    other = galton("simulate", "models.py:pair(1)", "-n", 300, "--store", "runs", "--of", "z")

    assert json.loads(first.stdout) == json.loads(second.stdout)
    assert json.loads(first.stdout)["nodes"] == {"weather": [300], "wet": [300]}
    assert other.exit_code == 1
    assert "another model" in other.stderr


def test_draws_that_fail_are_an_error_or_are_counted(galton):
    """A sixth of the standard normal lies above 1."""
    stopped = galton("simulate", "models.py:pair(1)", "-n", 2000)
    counted = galton("simulate", "models.py:pair(1)", "-n", 2000, "--record", "--json")

    assert stopped.exit_code == 1
    assert "no solution" in stopped.stderr
    failed = json.loads(counted.stdout)["failures"]["noise"]
    assert failed / 2000 == pytest.approx(0.1587, abs=4 * (0.1587 * 0.8413 / 2000) ** 0.5)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-g", "wet=1"], "'wet' is no input. To set it, say --do wet="),
        (["-g", "wet"], "'wet' has no value"),
        (["-n", "0"], "0 is not in the range"),
        (["--of", "wett"], "wett"),
        (["--out", "draws.xlsx"], "draws are written as .parquet, .npz"),
    ],
)
def test_simulate_refuses_what_it_cannot_do(galton, words, said):
    """Conditioning is for infer."""
    done = galton("simulate", "garden.py", "-n", 10, *words)

    assert done.exit_code in (1, 2)
    assert said in " ".join(done.stderr.replace("│", " ").split())


def test_convert_keeps_the_tables_to_the_last_digit(galton, folder):
    """BIF to UAI and back is the same network, without its names."""
    assert galton("convert", "alarm.bif", "alarm.uai", "-g", "CVP=HIGH").exit_code == 0
    assert galton("convert", "alarm.uai", "again.bif").exit_code == 0
    assert galton("convert", "garden.py", "garden.bif").exit_code == 0
    assert galton("convert", "alarm.bif", "alarm.xml").exit_code == 1

    assert (folder / "alarm.uai.evid").read_text().split()[-1] == "2"
    with pytest.warns(UserWarning, match="renormalised"):
        names = list(model_of("alarm.bif").graph)
    seen, asked = (names.index(n) for n in ("CVP", "HYPOVOLEMIA"))
    named = galton("infer", "alarm.bif", "-g", "CVP=HIGH", "--of", "HYPOVOLEMIA").stdout
    again = galton("infer", "again.bif", "-g", f"x{seen}=2", "--of", f"x{asked}").stdout
    assert re.findall(r" 0\.\d+", again) == re.findall(r" 0\.\d+", named) != []
    read = galton("infer", "garden.bif", "-g", "wet=1", "--of", "weather")
    assert "dry 0.3077, rain 0.6923" in read.stdout


# -- the whole -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command", ["draw", "plan", "simulate", "infer", "check", "convert", "version"]
)
def test_help_teaches_by_examples(command):
    """Every command shows at least two, and fits 80 columns."""
    done = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "80"})

    lines = done.stdout.splitlines()
    assert (
        sum(
            line.strip().startswith(f"galton {command} ") or line.strip() == f"galton {command}"
            for line in lines[3:]
        )
        >= 2
    )
    assert max(map(len, lines)) <= 80


def test_version_says_what_is_installed():
    """The library, Python, and what it stands on."""
    done = CliRunner().invoke(app, ["version", "--json"])

    assert json.loads(done.stdout)["torch"]
    assert CliRunner().invoke(app, ["--version"]).stdout.startswith("galton ")


def test_an_error_that_nobody_expected_is_told_without_a_traceback(galton, monkeypatch):
    """It asks to be reported; with --debug it shows where it comes from."""
    monkeypatch.setattr("ppl.compiler.compile", lambda *_, **__: 1 / 0)

    done = galton("infer", "garden.py", "-g", "wet=1")
    debugged = galton("infer", "garden.py", "-g", "wet=1", "--debug")

    assert done.exit_code == debugged.exit_code == 1
    assert "ZeroDivisionError" in done.stderr
    assert "--debug" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Traceback" in debugged.stderr
